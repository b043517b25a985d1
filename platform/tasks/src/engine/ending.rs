//! Writes down how tasks ended, many in one transaction. Not for tasks that say so in the transaction
//! of their own effect.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kernel::{Error, Kind, RequestId, Result, printable};
use sea_orm::Value;
use store::{Event, Purpose, System, fault};
use tokio::sync::{Notify, mpsc};

use super::Inner;
use super::board::Board;
use super::pump::lock;
use crate::queries::{self, Lease};

/// How many endings share a transaction.
const TOGETHER: usize = 128;
/// How long to wait when the database refused.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the database may refuse endings that share a transaction before each gets its own.
const REFUSALS: u32 = 3;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum How {
    /// Well; this is what the owner gets to see.
    Done(serde_json::Value),
    /// As the work has written down itself.
    Said,
    /// Not yet; this attempt does not count.
    Later(Duration),
    /// Badly, and it is tried again after a while.
    Retry(Error, Duration),
    /// Badly, for good.
    Dead(Error),
    /// Stopped by its owner.
    Cancelled,
    /// Somebody else has it.
    Lost,
    /// Never begun.
    Released,
}

/// An attempt that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub lease: Lease,
    pub job: &'static str,
    pub attempt: i64,
    pub correlation_id: String,
    pub how: How,
}

/// Writes endings down as they come, until nobody can send one any more.
pub(super) async fn write_down(
    inner: Arc<Inner>,
    board: Arc<Mutex<Board>>,
    settled: Arc<Notify>,
    mut endings: mpsc::Receiver<Ended>,
) {
    let mut batch = Vec::with_capacity(TOGETHER);
    while endings.recv_many(&mut batch, TOGETHER).await > 0 {
        batch.iter().for_each(report);
        if written(&inner, &batch, REFUSALS).await.is_err() {
            write_apart(&inner, &batch).await;
        }
        let mut board = lock(&board);
        batch.drain(..).for_each(|ended| board.settled(ended.lease));
        drop(board);
        settled.notify_one();
    }
}

/// Writes endings down in one transaction, however long the database is away. Fails when it is there and
/// refuses them this often.
async fn written(inner: &Inner, batch: &[Ended], mut refusals: u32) -> Result<()> {
    while let Err(error) = write(inner, batch).await {
        refusals -= u32::from(error.kind() != Kind::Unavailable);
        if refusals == 0 {
            return Err(error);
        }
        // The leases are kept meanwhile, so nobody does the work again.
        tracing::warn!(error = %error, tasks = batch.len(), "how tasks ended could not be written down: trying again");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Writes each ending down by itself. One that the database refuses is let go, so that it holds up no other:
/// its lease runs out, and its task is done again.
async fn write_apart(inner: &Inner, batch: &[Ended]) {
    for ended in batch {
        if let Err(error) = written(inner, std::slice::from_ref(ended), 1).await {
            tracing::error!(
                task.job = ended.job, task.id = %ended.lease.id, tenant.id = %ended.lease.tenant, error = %error,
                "how a task ended could not be written down: it is done again when its lease runs out"
            );
        }
    }
}

fn report(ended: &Ended) {
    let (job, task, tenant) = (ended.job, ended.lease.id, ended.lease.tenant);
    match &ended.how {
        How::Retry(error, pause) => tracing::warn!(
            task.job = job, task.id = %task, tenant.id = %tenant, task.attempt = ended.attempt, error = %error,
            pause_ms = pause.as_millis() as u64, "a task failed and is tried again"
        ),
        How::Dead(error) => tracing::error!(
            task.job = job, task.id = %task, tenant.id = %tenant, task.attempt = ended.attempt, error = %error,
            "a task failed for good"
        ),
        How::Lost => tracing::warn!(
            task.job = job, task.id = %task, tenant.id = %tenant,
            "a worker took too long: another one has its task, and nothing of this attempt was kept"
        ),
        _ => {}
    }
}

async fn write(inner: &Inner, batch: &[Ended]) -> Result<()> {
    let silent = |ended: &Ended| matches!(ended.how, How::Said | How::Lost);
    if batch.iter().all(silent) {
        return Ok(());
    }
    for ended in batch.iter().filter(|ended| !silent(ended)) {
        fault::point_at("task.before_complete", ended.job).await?;
    }
    let system = inner.store.system(Purpose::Tasks).await?;
    let done: Vec<(Lease, String)> = batch.iter().filter_map(as_done).collect();
    if !done.is_empty() {
        system.execute(&queries::done(&done, system.now())).await?;
    }
    for ended in batch {
        write_one(&system, ended).await?;
    }
    system.commit().await?;
    for ended in batch.iter().filter(|ended| !silent(ended)) {
        // Everything is on disk: a failure here changes nothing any more.
        let _ = fault::point_at("task.after_complete", ended.job).await;
    }
    Ok(())
}

fn as_done(ended: &Ended) -> Option<(Lease, String)> {
    match &ended.how {
        How::Done(result) => Some((ended.lease, result.to_string())),
        _ => None,
    }
}

async fn write_one(system: &System, ended: &Ended) -> Result<()> {
    let now = system.now();
    match &ended.how {
        How::Done(_) | How::Said | How::Lost => {}
        How::Later(pause) => {
            let due = now.plus(*pause);
            queue_again(system, ended, "attempt = attempt - 1", vec![], due).await?;
        }
        How::Released => {
            queue_again(system, ended, "attempt = attempt - 1", vec![], now).await?;
        }
        How::Retry(error, pause) => {
            let values = vec![error.code().into(), printable(error.message()).into()];
            queue_again(system, ended, "error_code = ?, error = ?", values, now.plus(*pause)).await?;
        }
        How::Cancelled => {
            let set = "state = 'cancelled', due_at = NULL, finished_at = ?";
            system.execute(&queries::change(ended.lease, set, vec![now.into()])).await?;
        }
        How::Dead(error) => {
            let set = "state = 'failed', due_at = NULL, finished_at = ?, error_code = ?, error = ?";
            let values: Vec<Value> = vec![now.into(), error.code().into(), printable(error.message()).into()];
            if system.execute(&queries::change(ended.lease, set, values)).await? == 1 {
                record_failure(system, ended, error).await?;
            }
        }
    }
    Ok(())
}

/// Puts the task back, or ends it where its owner wants it to stop.
async fn queue_again(
    system: &System,
    ended: &Ended,
    set: &str,
    mut values: Vec<Value>,
    due: kernel::Timestamp,
) -> Result<()> {
    let sagas = crate::saga::JOB;
    let set = format!(
        "{set}, state = CASE WHEN cancelled AND job <> '{sagas}' THEN 'cancelled' ELSE 'queued' END, \
         finished_at = CASE WHEN cancelled AND job <> '{sagas}' THEN ? ELSE NULL END, run_at = ?, \
         due_at = CASE WHEN cancelled AND job <> '{sagas}' THEN NULL ELSE ? END"
    );
    values.extend([system.now().into(), due.into(), due.into()]);
    system.execute(&queries::change(ended.lease, &set, values)).await.map(|_| ())
}

async fn record_failure(system: &System, ended: &Ended, error: &Error) -> Result<()> {
    let request = RequestId::parse(&ended.correlation_id).unwrap_or_else(RequestId::create);
    let data = serde_json::json!({
        "job": ended.job,
        "attempts": ended.attempt,
        "code": error.code(),
        "message": printable(error.message()),
    });
    let event = Event::about("tasks.task.failed", ended.lease.id, data);
    system.record(ended.lease.tenant, "system", &request, &event).await
}
