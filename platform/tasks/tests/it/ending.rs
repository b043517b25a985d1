//! How tasks end: tried again, given up, for later, in the dead letters; and what is removed.

use std::time::Duration;

use futures_util::FutureExt as _;
use kernel::Error;
use serde_json::json;
use tasks::{NewTask, Outcome, Retry, State};

use crate::ground::{Notes, UNWRITABLE, job, worlds};

fn failing(notes: &Notes) -> tasks::Job {
    let notes = notes.clone();
    job("test.fail", move |run| {
        notes.add(run.attempt().to_string());
        async { Err(Error::unavailable("test.away", "the other side is away").context("secret")) }.boxed()
    })
}

#[tokio::test]
async fn an_error_is_tried_again_after_longer_and_longer_pauses_and_ends_as_a_dead_letter() {
    for world in worlds().await {
        let notes = Notes::default();
        let retry = Retry { attempts: 3, first: Duration::from_secs(10), longest: Duration::from_secs(3_600) };
        let engine = world.engine(vec![failing(&notes).retry(retry)]);
        let id = world.enqueue(NewTask::new("test.fail", json!({ "password": "hunter2" }))).await;
        for (attempt, pause) in [(1, 10), (2, 20)] {
            engine.run_until_idle().await.unwrap();
            assert_eq!(notes.len(), attempt);
            let task = world.task(id).await;
            assert_eq!((task.state.as_str(), task.error.as_deref()), ("queued", Some("the other side is away")));
            let due = task.due_at.expect("it waits");
            let (soonest, latest) = (Duration::from_secs(pause * 8 / 10), Duration::from_secs(pause * 12 / 10));
            assert!(due >= world.clock.now().plus(soonest) && due <= world.clock.now().plus(latest), "{due}");
            world.clock.shift(due.0 - world.clock.now().0 - 1);
            engine.run_until_idle().await.unwrap();
            assert_eq!(notes.len(), attempt, "not a moment before");
            world.clock.shift(1);
        }
        engine.run_until_idle().await.unwrap();
        assert_eq!(notes.all(), ["1", "2", "3"]);
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.error_code.as_deref()), ("failed", Some("test.away")));
        let told = json!({ "job": "test.fail", "attempts": 3, "code": "test.away", "message": "the other side is away" });
        assert_eq!(world.events("tasks.task.failed").await, [told]);
        world.shift(Duration::from_secs(100_000));
        assert_eq!(engine.run_until_idle().await.unwrap(), 0, "dead");

        let mut ctx = crate::ground::ctx(world.tenant);
        let mut writer = world.store.write(&mut ctx).await.unwrap();
        assert_eq!(tasks::retry(&mut writer, id).await.unwrap().state, "queued");
        writer.commit(kernel::Answer::no_content()).await.unwrap();
        engine.run_until_idle().await.unwrap();
        assert_eq!(notes.all().last().map(String::as_str), Some("1"), "with all its attempts");
    }
}

#[tokio::test]
async fn what_gives_up_is_not_tried_again() {
    for world in worlds().await {
        let given_up = job("test.give_up", |run| {
            async { Err(run.give_up(Error::invalid("test.hopeless", "it can never work"))) }.boxed()
        });
        let unreadable = job("test.unreadable", |run| {
            async { run.payload::<u32>().map(|_| Outcome::Done(json!(null))) }.boxed()
        });
        let engine = world.engine(vec![given_up, unreadable]);
        let id = world.enqueue(NewTask::new("test.give_up", json!(null))).await;
        let odd = world.enqueue(NewTask::new("test.unreadable", json!("text"))).await;
        engine.run_until_idle().await.unwrap();
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.attempt, task.error_code.as_deref()), ("failed", 1, Some("test.hopeless")));
        let task = world.task(odd).await;
        assert_eq!((task.state.as_str(), task.error_code.as_deref()), ("failed", Some("server.fault")));
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_task_alone() {
    for world in worlds().await {
        let panics = job("test.panic", |_| async { panic!("a secret") }.boxed());
        let engine = world.engine(vec![panics, job("test.fine", |_| async { Ok(Outcome::Done(json!(1))) }.boxed())]);
        let id = world.enqueue(NewTask::new("test.panic", json!(null))).await;
        let fine = world.enqueue(NewTask::new("test.fine", json!(null))).await;
        engine.run_until_idle().await.unwrap();
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.error_code.as_deref()), ("queued", Some("server.fault")));
        assert!(!task.error.unwrap().contains("secret"));
        assert_eq!(world.state(fine).await, State::Done);
    }
}

#[tokio::test]
async fn an_end_that_cannot_be_written_down_holds_up_no_other() {
    for world in worlds().await {
        let fine = |name| job(name, |_| async { Ok(Outcome::Done(json!(1))) }.boxed());
        let engine = world.engine(vec![fine("test.fine"), fine(UNWRITABLE)]);
        let bad = world.enqueue(NewTask::new(UNWRITABLE, json!(null))).await;
        let mut good = Vec::new();
        for number in 0..5 {
            good.push(world.enqueue(NewTask::new("test.fine", json!(number))).await);
        }
        engine.run_until_idle().await.unwrap();
        for id in good {
            assert_eq!(world.state(id).await, State::Done);
        }
        assert_eq!(world.state(bad).await, State::Running, "its lease runs out");
        world.let_leases_run_out();
        assert_eq!(engine.run_until_idle().await.unwrap(), 1, "and it is done again");
    }
}

#[tokio::test]
async fn an_error_with_control_characters_is_kept_without_them() {
    for world in worlds().await {
        let odd = job("test.odd", |_| async { Err(Error::conflict("test.odd", "a\0b\nc\x1b[0m")) }.boxed());
        let engine = world.engine(vec![odd.retry(Retry { attempts: 2, ..Retry::default() })]);
        let id = world.enqueue(NewTask::new("test.odd", json!(null))).await;
        for state in [State::Queued, State::Failed] {
            engine.run_until_idle().await.unwrap();
            let task = world.task(id).await;
            assert_eq!((task.state.as_str(), task.error.as_deref()), (state.name(), Some("a\u{fffd}b c\u{fffd}[0m")));
            world.shift(Duration::from_secs(3_600));
        }
    }
}

#[tokio::test]
async fn what_goes_on_later_loses_no_attempt() {
    for world in worlds().await {
        let notes = Notes::default();
        let seen = notes.clone();
        let later = job("test.later", move |run| {
            seen.add(run.attempt().to_string());
            let done = seen.len() == 9;
            async move { Ok(if done { Outcome::Done(json!("at last")) } else { Outcome::Later(Duration::from_secs(60)) }) }
                .boxed()
        });
        let engine = world.engine(vec![later]);
        let id = world.enqueue(NewTask::new("test.later", json!(null))).await;
        for _ in 0..9 {
            engine.run_until_idle().await.unwrap();
            world.shift(Duration::from_secs(60));
        }
        assert_eq!(notes.all(), ["1"; 9]);
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.fence), ("done", 9));
    }
}

#[tokio::test]
async fn finished_tasks_are_removed_and_dead_letters_stay() {
    for world in worlds().await {
        let jobs = vec![
            job("test.fine", |_| async { Ok(Outcome::Done(json!(1))) }.boxed()),
            job("test.give_up", |run| async { Err(run.give_up(Error::invalid("test.no", "no"))) }.boxed()),
        ];
        let engine = world.engine(jobs);
        let old = world.enqueue(NewTask::new("test.fine", json!(null))).await;
        let dead = world.enqueue(NewTask::new("test.give_up", json!(null))).await;
        engine.run_until_idle().await.unwrap();
        world.shift(Duration::from_secs(3_600));
        let young = world.enqueue(NewTask::new("test.fine", json!(null))).await;
        engine.run_until_idle().await.unwrap();
        let waiting = world.enqueue(NewTask::new("test.fine", json!(null))).await;
        assert_eq!(tasks::remove_finished(&world.store, world.clock.now()).await.unwrap(), 1);
        let left: Vec<_> = world.tasks().await.into_iter().map(|task| task.id).collect();
        assert_eq!(left, [waiting, young, dead]);
        assert!(tasks::find_any(&world.store, old).await.is_err());
    }
}
