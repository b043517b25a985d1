//! Waiting for what happens by itself, under a limit. Not for what says when it has happened.

use std::time::{Duration, Instant};

/// Polls until the condition holds; fails after twenty seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "never became true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
