//! Bounds how much is worked out at a time beside the threads that answer requests. Not for the work.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Result};
use tokio::sync::Semaphore;

/// How many work at a time.
const AT_A_TIME: usize = 2;
/// How long somebody waits for a turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gives turns to whoever works something out.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Semaphore>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Pace {
    /// Runs the work beside the threads that answer requests, when there is a turn.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = tokio::time::timeout(PATIENCE, self.0.clone().acquire_owned()).await;
        let busy = || Error::unavailable("analytics.busy", "others are waiting for figures too: try again shortly");
        let Ok(Ok(turn)) = turn else { return Err(busy().retry_after(2)) };
        let worked = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        worked.await.map_err(|error| Error::internal("working out figures failed").source_error(error))
    }
}
