//! Calls a step and says what its answer means: done, not now, refused, or nobody knows. Not for
//! writing it down.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{Error, Kind, Result};

use crate::engine::panicked;

/// Calls a step; a panic is an error, and so is more time than is left.
pub(super) async fn call<T>(step: &str, limit: Option<Duration>, work: BoxFuture<'_, Result<T>>) -> Result<T> {
    let work = AssertUnwindSafe(work).catch_unwind();
    let answered = match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| too_late())?,
        None => work.await,
    };
    answered.unwrap_or_else(|panic| Err(panicked(step, panic.as_ref())))
}

/// The saga's time is up.
pub(super) fn too_late() -> Error {
    Error::conflict("tasks.saga_deadline", "this took longer than it may, and is taken back")
}

/// Says whether the step refused, so that it has had no effect; after any other error nobody knows.
pub(super) fn refused(error: &Error) -> bool {
    let unclear = matches!(error.kind(), Kind::Internal | Kind::Unavailable);
    !unclear && error.code() != too_late().code()
}
