//! Cancelling tasks that wait and tasks that run, and seeing how far they are.

use std::sync::Arc;

use futures_util::FutureExt as _;
use kernel::Answer;
use serde_json::json;
use tasks::{NewTask, Outcome, State, TaskId};
use tokio::sync::Notify;

use crate::ground::{Notes, World, ctx, effect_and_complete, job, worlds};

async fn cancel(world: &World, id: TaskId) -> (String, bool) {
    let mut ctx = ctx(world.tenant);
    let mut writer = world.store.write(&mut ctx).await.expect("done");
    let (task, new) = tasks::cancel(&mut writer, id).await.expect("done");
    writer.commit(Answer::no_content()).await.expect("done");
    (task.state, new)
}

#[tokio::test]
async fn a_task_that_waits_is_cancelled_at_once() {
    for world in worlds().await {
        let notes = Notes::default();
        let seen = notes.clone();
        let work = job("test.note", move |_| {
            seen.add("ran");
            async { Ok(Outcome::Done(json!(null))) }.boxed()
        });
        let id = world.enqueue(NewTask::new("test.note", json!(null)).unique("one")).await;
        assert_eq!(cancel(&world, id).await, ("cancelled".to_owned(), true));
        assert_eq!(cancel(&world, id).await, ("cancelled".to_owned(), false));
        assert_eq!(world.engine(vec![work]).run_until_idle().await.unwrap(), 0);
        assert_eq!(notes.len(), 0);
        assert_ne!(world.enqueue(NewTask::new("test.note", json!(null)).unique("one")).await, id, "its key is free");
        let mut of_another = ctx(world.other);
        let mut writer = world.store.write(&mut of_another).await.unwrap();
        assert_eq!(tasks::cancel(&mut writer, id).await.expect_err("not theirs").code(), "request.not_found");
    }
}

#[tokio::test]
async fn a_task_that_runs_stops_when_it_next_says_something_and_shows_how_far_it_was() {
    for world in worlds().await {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            job("test.long", move |run| {
                let (begun, go_on) = (begun.clone(), go_on.clone());
                async move {
                    run.progress(40, Some(100), "rows").await?;
                    begun.notify_one();
                    go_on.notified().await;
                    // One says how far it is, the other that it is done.
                    if run.payload::<bool>()? {
                        run.progress(41, Some(100), "rows").await?;
                    }
                    effect_and_complete(run, "too much").await
                }
                .boxed()
            })
        };
        for says_more in [true, false] {
            let id = world.enqueue(NewTask::new("test.long", json!(says_more))).await;
            let engine = world.engine(vec![work.clone()]);
            let working = tokio::spawn(async move { engine.run_until_idle().await });
            begun.notified().await;
            let task = world.task(id).await;
            let shown = (task.progress_done, task.progress_of, task.progress_note.as_deref());
            assert_eq!(shown, (Some(40), Some(100), Some("rows")));
            assert_eq!(cancel(&world, id).await, ("running".to_owned(), true));
            go_on.notify_one();
            working.await.unwrap().unwrap();
            assert_eq!(world.state(id).await, State::Cancelled, "{says_more}");
            assert_eq!(world.effects().await, Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_cancelled_task_whose_worker_vanished_is_not_begun_again() {
    for world in worlds().await {
        let begun = Arc::new(Notify::new());
        let work = {
            let begun = begun.clone();
            job("test.long", move |_| {
                begun.notify_one();
                std::future::pending().boxed()
            })
        };
        let id = world.enqueue(NewTask::new("test.long", json!(null))).await;
        let engine = world.engine(vec![work.clone()]);
        let working = tokio::spawn(async move { engine.run_until_idle().await });
        begun.notified().await;
        working.abort();
        let _ = working.await;
        cancel(&world, id).await;
        world.let_leases_run_out();
        world.engine(vec![work]).run_until_idle().await.unwrap();
        assert_eq!(world.state(id).await, State::Cancelled);
    }
}
