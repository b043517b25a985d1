//! Who has a task: one worker at a time, and nothing of a worker whose lease was taken is kept.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kernel::{Answer, Error};
use serde_json::json;
use store::fault::{self, FaultAction};
use tasks::{NewTask, Outcome, State};
use tokio::sync::Notify;

use crate::ground::{Notes, add_effect, effect_and_complete, job, worlds};

#[tokio::test]
async fn two_engines_do_each_task_once() {
    for world in worlds().await {
        let notes = Notes::default();
        let work = |name: &'static str| {
            let notes = notes.clone();
            job("test.effect", move |run| {
                let notes = notes.clone();
                async move {
                    notes.add(name);
                    let effect = run.payload::<u32>()?.to_string();
                    effect_and_complete(run, &effect).await
                }
                .boxed()
            })
        };
        for number in 0..60u32 {
            world.enqueue(NewTask::new("test.effect", json!(number))).await;
        }
        let (one, two) = (world.engine(vec![work("one")]), world.engine(vec![work("two")]));
        let (first, second) = tokio::join!(one.run_until_idle(), two.run_until_idle());
        assert_eq!(first.unwrap() + second.unwrap(), 60, "attempts");
        let mut expected: Vec<String> = (0..60).map(|number: u32| number.to_string()).collect();
        expected.sort();
        assert_eq!(world.effects().await, expected);
    }
}

#[tokio::test]
async fn a_paused_worker_whose_lease_was_taken_changes_nothing() {
    for world in worlds().await {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let paused = {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            job("test.effect", move |run| {
                let (begun, go_on) = (begun.clone(), go_on.clone());
                async move {
                    begun.notify_one();
                    go_on.notified().await;
                    let lost = run.progress(1, None, "").await.expect_err("another worker has it");
                    assert_eq!(lost.code(), "tasks.lease_lost");
                    effect_and_complete(run, "of the paused one").await
                }
                .boxed()
            })
        };
        let quick = job("test.effect", |run| effect_and_complete(run, "of the quick one").boxed());
        let id = world.enqueue(NewTask::new("test.effect", json!(null))).await;
        let slow = world.engine(vec![paused]);
        let slow = tokio::spawn(async move { slow.run_until_idle().await });
        begun.notified().await;
        let quick = world.engine(vec![quick]);
        assert_eq!(quick.run_until_idle().await.unwrap(), 0, "its lease holds");
        world.let_leases_run_out();
        assert_eq!(quick.run_until_idle().await.unwrap(), 1);
        go_on.notify_one();
        slow.await.unwrap().unwrap();
        assert_eq!(world.effects().await, ["of the quick one"]);
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.attempt, task.result.as_deref()), ("done", 2, Some("\"of the quick one\"")));
    }
}

#[tokio::test]
async fn the_word_of_a_worker_whose_lease_was_taken_does_not_count() {
    for world in worlds().await {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        // It ends badly, and by the engine's own hand.
        let paused = {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            job("test.word", move |run| {
                let (begun, go_on) = (begun.clone(), go_on.clone());
                async move {
                    begun.notify_one();
                    go_on.notified().await;
                    Err(run.give_up(Error::conflict("test.wrong", "no")))
                }
                .boxed()
            })
        };
        let id = world.enqueue(NewTask::new("test.word", json!(null))).await;
        let slow = world.engine(vec![paused]);
        let slow = tokio::spawn(async move { slow.run_until_idle().await });
        begun.notified().await;
        world.let_leases_run_out();
        let later = job("test.word", |_| async { Ok(Outcome::Later(Duration::from_secs(60))) }.boxed());
        world.engine(vec![later]).run_until_idle().await.unwrap();
        go_on.notify_one();
        slow.await.unwrap().unwrap();
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.error), ("queued", None));
        assert_eq!(world.events("tasks.task.failed").await, Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn what_a_vanished_worker_had_is_done_by_the_next_one() {
    for world in worlds().await {
        let begun = Arc::new(Notify::new());
        let stuck = {
            let begun = begun.clone();
            job("test.effect", move |run| {
                let begun = begun.clone();
                async move {
                    let mut ctx = run.ctx();
                    let mut writer = run.store().write(&mut ctx).await?;
                    add_effect(&mut writer, "half").await?;
                    run.complete(&mut writer, json!(null)).await?;
                    writer.roll_back().await?;
                    begun.notify_one();
                    std::future::pending().await
                }
                .boxed()
            })
        };
        let id = world.enqueue(NewTask::new("test.effect", json!(null))).await;
        let engine = world.engine(vec![stuck]);
        let working = tokio::spawn(async move { engine.run_until_idle().await });
        begun.notified().await;
        working.abort();
        assert!(working.await.unwrap_err().is_cancelled());
        let next = world.engine(vec![job("test.effect", |run| effect_and_complete(run, "whole").boxed())]);
        assert_eq!(next.run_until_idle().await.unwrap(), 0);
        world.let_leases_run_out();
        assert_eq!(next.run_until_idle().await.unwrap(), 1);
        assert_eq!((world.state(id).await, world.effects().await), (State::Done, vec!["whole".to_owned()]));
    }
}

#[tokio::test]
async fn a_task_that_ends_every_process_is_a_dead_letter_in_the_end() {
    for world in worlds().await {
        let begun = Arc::new(Notify::new());
        let id = world.enqueue(NewTask::new("test.killer", json!(null))).await;
        let killer = || {
            let begun = begun.clone();
            job("test.killer", move |_| {
                begun.notify_one();
                std::future::pending().boxed()
            })
        };
        for _ in 0..5 {
            let engine = world.engine(vec![killer()]);
            let working = tokio::spawn(async move { engine.run_until_idle().await });
            begun.notified().await;
            working.abort();
            let _ = working.await;
            world.let_leases_run_out();
        }
        world.engine(vec![killer()]).run_until_idle().await.unwrap();
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.error_code.as_deref()), ("failed", Some("tasks.worker_lost")));
    }
}

#[tokio::test]
async fn a_fault_at_any_point_leaves_the_effect_once() {
    let jobs = ["test.fault_claim", "test.fault_before", "test.fault_after"];
    let points = ["task.after_claim", "task.before_complete", "task.after_complete"];
    for world in worlds().await {
        for (name, point) in jobs.into_iter().zip(points) {
            let armed = format!("{point}@{name}");
            fault::arm(armed.as_str(), 0, FaultAction::Error);
            let engine = world.engine(vec![job(name, move |run| effect_and_complete(run, name).boxed())]);
            let id = world.enqueue(NewTask::new(name, json!(null))).await;
            engine.run_until_idle().await.unwrap();
            assert!(!fault::is_armed(&armed), "{armed} fired");
            assert_eq!(world.state(id).await, State::Queued, "{armed}");
            world.shift(Duration::from_secs(2));
            engine.run_until_idle().await.unwrap();
            assert_eq!(world.state(id).await, State::Done, "{armed}");
        }
        assert_eq!(world.effects().await, ["test.fault_after", "test.fault_before", "test.fault_claim"]);
    }
}

#[tokio::test]
async fn an_ending_that_the_database_refuses_is_written_down_later() {
    for world in worlds().await {
        for (name, point) in [("test.done_before", "task.before_complete"), ("test.done_after", "task.after_complete")] {
            let armed = format!("{point}@{name}");
            fault::arm(armed.as_str(), 0, FaultAction::Error);
            let notes = Notes::default();
            let seen = notes.clone();
            let work = job(name, move |_| {
                seen.add("done");
                async { Ok(Outcome::Done(json!(1))) }.boxed()
            });
            let id = world.enqueue(NewTask::new(name, json!(null))).await;
            world.engine(vec![work]).run_until_idle().await.unwrap();
            assert!(!fault::is_armed(&armed), "{armed} fired");
            assert_eq!((world.state(id).await, notes.len()), (State::Done, 1), "{armed}");
        }
    }
}

#[tokio::test]
async fn a_transaction_of_another_tenant_cannot_end_a_task() {
    for world in worlds().await {
        let other = world.other;
        let work = job("test.foreign", move |run| {
            async move {
                let mut ctx = crate::ground::ctx(other);
                let mut writer = run.store().write(&mut ctx).await?;
                let refused = run.complete(&mut writer, json!(null)).await.expect_err("not its task");
                writer.commit(Answer::no_content()).await.expect_err("a refused ending leaves nothing to commit");
                Err(run.give_up(refused))
            }
            .boxed()
        });
        let id = world.enqueue(NewTask::new("test.foreign", json!(null))).await;
        world.engine(vec![work]).run_until_idle().await.unwrap();
        assert_eq!(world.state(id).await, State::Running, "nobody ended it; its lease runs out");
    }
}
