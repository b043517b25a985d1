//! One worker's work on one task, from lease to outcome. Not for what becomes of the row: see `ending`.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use kernel::{Error, Result};
use store::fault;

use super::Inner;
use super::board::Claimed;
use super::ending::{Ended, How};
use crate::job::{Job, Outcome};
use crate::run::Run;
use crate::saga;

/// Works on a task, and says how it went; nothing when this worker is to vanish without a word.
pub(super) async fn attempt(inner: &Inner, claimed: Claimed) -> Ended {
    let (lease, attempt) = (claimed.lease(), claimed.attempt);
    let (job, correlation_id) = (claimed.job, claimed.correlation_id.clone());
    let how = match inner.jobs.get(job) {
        Some(job) => work(inner, job, claimed).await,
        None => How::Released,
    };
    Ended { lease, job, attempt, correlation_id, how }
}

async fn work(inner: &Inner, job: &Job, claimed: Claimed) -> How {
    if claimed.cancelled && job.name != saga::JOB {
        return How::Cancelled;
    }
    if claimed.attempt > i64::from(job.retry.attempts) {
        let message = "the server ended while it worked on this, each time it was tried";
        return How::Dead(Error::unavailable("tasks.worker_lost", message));
    }
    let mut run = Run {
        store: inner.store.clone(),
        tenant: claimed.tenant,
        id: claimed.id,
        attempt: u32::try_from(claimed.attempt).unwrap_or(u32::MAX),
        job: job.name,
        fence: claimed.fence,
        payload: claimed.payload,
        correlation_id: claimed.correlation_id,
        lease: inner.config.lease(),
        given_up: false.into(),
    };
    let worked = AssertUnwindSafe(guarded(job, &mut run)).catch_unwind().await;
    let outcome = worked.unwrap_or_else(|panic| Err(panicked(job.name, panic.as_ref())));
    match outcome {
        Ok(Outcome::Done(result)) => How::Done(result),
        Ok(Outcome::Completed) => How::Said,
        Ok(Outcome::Later(pause)) => How::Later(pause),
        Err(error) if error.code() == "tasks.lease_lost" => How::Lost,
        Err(error) if error.code() == "tasks.cancelled" => How::Cancelled,
        Err(error) if run.given_up.load(Ordering::Relaxed) => How::Dead(error),
        Err(error) if claimed.attempt >= i64::from(job.retry.attempts) => How::Dead(error),
        Err(error) => How::Retry(error, job.retry.pause(claimed.attempt)),
    }
}

async fn guarded(job: &Job, run: &mut Run) -> Result<Outcome> {
    fault::point_at("task.after_claim", job.name).await?;
    job.work.run(run).await
}

/// Returns the error that a panic counts as; its text is for the log only.
pub(crate) fn panicked(what: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::internal(format!("{what} panicked: {text}"))
}
