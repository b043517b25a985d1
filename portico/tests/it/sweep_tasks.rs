//! How the sweep tries what is done with tasks, and a task that failed for it to be done to. Not a test
//! by itself: see `sweep`.

use futures_util::future::BoxFuture;
use kernel::{Answer, Error, PermissionSet, Result};
use serde_json::json;
use tasks::{Engine, EngineConfig, Job, NewTask, Outcome, Run, TaskId, Work};
use testkit::{Attempt, Sweep, TestApp, TestTenant};

pub(crate) const PATH: &str = "/operator/tasks";
/// A job that gives up, where somebody works on it.
pub(crate) const HOPELESS: &str = "sweep.hopeless";

struct Hopeless;

impl Work for Hopeless {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async { Err(run.give_up(Error::conflict("sweep.hopeless", "it can never work"))) })
    }
}

/// Puts a task of the owner's in the queue.
pub(crate) async fn queued(app: &TestApp, owner: &TestTenant) -> TaskId {
    let mut ctx = store::system_context(owner.id, PermissionSet::default());
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    let task = tasks::enqueue(&mut writer, NewTask::new(HOPELESS, json!(null))).await.expect("it is queued");
    writer.commit(Answer::no_content()).await.expect("kept");
    task.id
}

/// Leaves a task of the owner's that failed for good.
pub(crate) async fn failed(app: &TestApp, owner: &TestTenant) -> TaskId {
    let id = queued(app, owner).await;
    let jobs = vec![Job::new(HOPELESS, Hopeless)];
    let engine = Engine::new(app.store().clone(), jobs, vec![], vec![], EngineConfig::default()).expect("an engine");
    engine.run_until_idle().await.expect("the queue can be read");
    id
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .operation("tasks_list_tasks", |app, owner| {
            Box::pin(async move { Attempt::at("/api/tasks").shows(queued(app, owner).await.to_string()).own() })
        })
        .operation("tasks_get_task", |app, owner| {
            Box::pin(async move { Attempt::at(format!("/api/tasks/{}", queued(app, owner).await)).shows(HOPELESS) })
        })
        .operation("tasks_cancel_task", |app, owner| {
            Box::pin(
                async move { Attempt::at(format!("/api/tasks/{}/cancel", queued(app, owner).await)).shows(HOPELESS) },
            )
        })
        .operation("operator_list_tasks", |app, owner| {
            Box::pin(async move { Attempt::at(PATH).shows(queued(app, owner).await.to_string()) })
        })
        .operation("operator_get_task", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{PATH}/{}", queued(app, owner).await)).shows(HOPELESS) })
        })
        .operation("operator_retry_task", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{PATH}/{}/retry", failed(app, owner).await)).shows(HOPELESS) })
        })
        .operation("operator_cancel_task", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{PATH}/{}/cancel", queued(app, owner).await)).shows(HOPELESS) })
        })
}
