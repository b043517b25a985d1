//! Putting tasks in the queue: with the transaction, once per key, in order, at their time.

use std::time::Duration;

use futures_util::FutureExt as _;
use kernel::Answer;
use serde_json::json;
use tasks::{NewTask, Outcome, State};

use crate::ground::{Notes, add_effect, ctx, job, worlds};

fn noting(notes: &Notes) -> tasks::Job {
    let notes = notes.clone();
    job("test.note", move |run| {
        let notes = notes.clone();
        async move {
            notes.add(run.payload::<String>()?);
            Ok(Outcome::Done(json!({ "seen": true })))
        }
        .boxed()
    })
}

#[tokio::test]
async fn a_task_comes_and_goes_with_the_transaction_that_asks_for_it() {
    for world in worlds().await {
        let notes = Notes::default();
        let engine = world.engine(vec![noting(&notes)]);
        let mut first = ctx(world.tenant);
        let mut writer = world.store.write(&mut first).await.unwrap();
        add_effect(&mut writer, "undone").await.unwrap();
        tasks::enqueue(&mut writer, NewTask::new("test.note", json!("undone"))).await.unwrap();
        writer.roll_back().await.unwrap();
        assert_eq!(engine.run_until_idle().await.unwrap(), 0);

        let id = world.enqueue(NewTask::new("test.note", json!("kept"))).await;
        assert_eq!(engine.run_until_idle().await.unwrap(), 1);
        assert_eq!(notes.all(), ["kept"]);
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.result.as_deref(), task.attempt), ("done", Some(r#"{"seen":true}"#), 1));
        assert_eq!((task.due_at, task.finished_at), (None, Some(world.clock.now())));
        assert_eq!(engine.run_until_idle().await.unwrap(), 0, "once");
    }
}

#[tokio::test]
async fn a_unique_key_has_one_task_that_waits_or_runs() {
    for world in worlds().await {
        let notes = Notes::default();
        let engine = world.engine(vec![noting(&notes)]);
        let task = || NewTask::new("test.note", json!("a")).unique("key");
        let first = world.enqueue(task()).await;
        let mut second = ctx(world.tenant);
        let mut writer = world.store.write(&mut second).await.unwrap();
        let again = tasks::enqueue(&mut writer, task()).await.unwrap();
        assert_eq!((again.id, again.new), (first, false));
        // The caller's transaction is as good as before.
        add_effect(&mut writer, "beside").await.unwrap();
        writer.commit(Answer::no_content()).await.unwrap();
        assert_eq!(world.effects().await, ["beside"]);
        let of_another = world.enqueue_for(world.other, task()).await;
        assert_ne!(of_another, first);
        assert_eq!(engine.run_until_idle().await.unwrap(), 2);
        assert_ne!(world.enqueue(task()).await, first, "the first one is over");
    }
}

#[tokio::test]
async fn one_of_many_who_ask_at_once_for_a_unique_task_gets_a_new_one() {
    for world in worlds().await {
        let ask = |_| {
            let (store, tenant) = (world.store.clone(), world.tenant);
            tokio::spawn(async move {
                let mut ctx = ctx(tenant);
                let mut writer = store.write(&mut ctx).await.unwrap();
                let task = NewTask::new("test.note", json!("x")).unique("one");
                let queued = tasks::enqueue(&mut writer, task).await.unwrap();
                writer.commit(Answer::no_content()).await.unwrap();
                queued
            })
        };
        let asked: Vec<_> = (0..12).map(ask).collect();
        let mut queued = Vec::new();
        for one in asked {
            queued.push(one.await.unwrap());
        }
        assert_eq!(queued.iter().filter(|queued| queued.new).count(), 1);
        assert!(queued.iter().all(|one| one.id == queued[0].id));
        assert_eq!(world.tasks().await.len(), 1);
    }
}

#[tokio::test]
async fn higher_priorities_come_first_and_others_in_their_order() {
    for world in worlds().await {
        let notes = Notes::default();
        let engine = world.one_worker(vec![noting(&notes)]);
        for (name, priority) in [("b1", 0), ("a", 5), ("b2", 0), ("c", -5), ("b3", 0)] {
            world.enqueue(NewTask::new("test.note", json!(name)).priority(priority)).await;
        }
        engine.run_until_idle().await.unwrap();
        assert_eq!(notes.all(), ["a", "b1", "b2", "b3", "c"]);
    }
}

#[tokio::test]
async fn a_task_waits_for_its_moment() {
    for world in worlds().await {
        let notes = Notes::default();
        let engine = world.engine(vec![noting(&notes)]);
        let later = world.clock.now().plus(Duration::from_secs(60));
        let id = world.enqueue(NewTask::new("test.note", json!("later")).at(later)).await;
        assert_eq!(engine.run_until_idle().await.unwrap(), 0);
        world.shift(Duration::from_millis(59_999));
        assert_eq!(engine.run_until_idle().await.unwrap(), 0);
        world.shift(Duration::from_millis(1));
        assert_eq!(engine.run_until_idle().await.unwrap(), 1);
        assert_eq!(world.state(id).await, State::Done);
    }
}

#[tokio::test]
async fn a_job_that_this_binary_does_not_know_waits_for_one_that_does() {
    for world in worlds().await {
        let notes = Notes::default();
        let old = world.engine(vec![]);
        let id = world.enqueue(NewTask::new("test.note", json!("new"))).await;
        assert_eq!(old.run_until_idle().await.unwrap(), 0);
        assert_eq!((world.state(id).await, world.task(id).await.attempt), (State::Queued, 0));
        assert_eq!(world.engine(vec![noting(&notes)]).run_until_idle().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_started_engine_hears_of_a_commit_and_stops_in_order() {
    for world in worlds().await {
        let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
        let work = job("test.tell", move |run| {
            let told = told.clone();
            async move {
                told.send(run.id()).expect("the test listens");
                Ok(Outcome::Done(json!(null)))
            }
            .boxed()
        });
        let running = world.engine(vec![work]).start();
        for _ in 0..3 {
            let id = world.enqueue(NewTask::new("test.tell", json!(null))).await;
            let heard = tokio::time::timeout(Duration::from_secs(20), tell.recv()).await.expect("in time");
            assert_eq!(heard, Some(id));
        }
        running.stop().await;
        assert!(world.tasks().await.iter().all(|task| task.state == "done"), "what was begun was written down");
        let id = world.enqueue(NewTask::new("test.tell", json!(null))).await;
        assert_eq!(world.state(id).await, State::Queued);
    }
}
