//! Schedules: at their moments, by one process, once for all that were missed.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{Error, Result};
use store::Store;
use tasks::{Engine, EngineConfig, Schedule, Scheduled};

use crate::ground::{Notes, World, worlds};

struct Noting(Notes, bool);

impl Scheduled for Noting {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        async move {
            self.0.add(store.clock().now().to_string());
            if self.1 { Err(Error::internal("it went wrong")) } else { Ok(()) }
        }
        .boxed()
    }
}

fn engine(world: &World, cron: &'static str, notes: &Notes, fails: bool) -> Engine {
    let schedule = Schedule::new("test.hourly", cron, Noting(notes.clone(), fails));
    world.engine_with(vec![], vec![schedule], vec![], EngineConfig::default())
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_schedule_is_due_at_its_moments_and_what_was_missed_is_done_once() {
    for world in worlds().await {
        let notes = Notes::default();
        let engine = engine(&world, "0 * * * *", &notes, false);
        engine.run_until_idle().await.unwrap();
        world.shift(MINUTE * 59);
        engine.run_until_idle().await.unwrap();
        assert_eq!(notes.all(), Vec::<String>::new());
        world.shift(MINUTE);
        engine.run_until_idle().await.unwrap();
        engine.run_until_idle().await.unwrap();
        assert_eq!(notes.all(), ["2026-11-21T09:00:00.000000Z"]);
        world.shift(MINUTE * 60 * 24 + MINUTE);
        engine.run_until_idle().await.unwrap();
        assert_eq!(notes.len(), 2, "once for a whole day");
        world.shift(MINUTE * 59);
        engine.run_until_idle().await.unwrap();
        assert_eq!(notes.all().last().map(String::as_str), Some("2026-11-22T10:00:00.000000Z"));
    }
}

#[tokio::test]
async fn of_several_processes_one_does_what_is_due() {
    for world in worlds().await {
        let notes = Notes::default();
        let engines: Vec<Engine> = (0..4).map(|_| engine(&world, "*/5 * * * *", &notes, false)).collect();
        engines[0].run_until_idle().await.unwrap();
        for turn in 1..=3 {
            world.shift(MINUTE * 5);
            let all = engines.iter().map(Engine::run_until_idle);
            for ran in futures_util::future::join_all(all).await {
                ran.unwrap();
            }
            assert_eq!(notes.len(), turn);
        }
    }
}

#[tokio::test]
async fn a_schedule_that_fails_is_tried_again_soon_and_a_changed_one_is_planned_anew() {
    for world in worlds().await {
        let notes = Notes::default();
        let failing = engine(&world, "0 3 * * *", &notes, true);
        failing.run_until_idle().await.unwrap();
        world.shift(MINUTE * 60 * 19);
        failing.run_until_idle().await.unwrap();
        assert_eq!(notes.len(), 1);
        world.shift(MINUTE);
        failing.run_until_idle().await.unwrap();
        assert_eq!(notes.len(), 2);
        let changed = engine(&world, "30 * * * *", &notes, false);
        changed.run_until_idle().await.unwrap();
        world.shift(MINUTE * 29);
        changed.run_until_idle().await.unwrap();
        assert_eq!(notes.all().last().map(String::as_str), Some("2026-11-22T03:30:00.000000Z"));
    }
}

#[tokio::test]
async fn a_started_engine_keeps_time_by_itself() {
    for world in worlds().await {
        let notes = Notes::default();
        engine(&world, "0 * * * *", &notes, false).run_until_idle().await.unwrap();
        world.shift(MINUTE * 60);
        let running = engine(&world, "0 * * * *", &notes, false).start();
        let ran = async {
            while notes.len() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ran).await.expect("in time");
        running.stop().await;
        assert_eq!(notes.len(), 1);
    }
}
