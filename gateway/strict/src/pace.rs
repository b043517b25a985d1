//! How long may be waited for a peer: a bucket of patience that waiting empties and bytes fill, so that both a
//! stop and a trickle end. Not for timers.

use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::link::Link;

/// Patience with one direction of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    most: Duration,
    bytes_per_second: u64,
    /// How long may be waited in all.
    total: Option<Duration>,
    left: Duration,
    spent: Duration,
    since: Option<Instant>,
}

impl Pace {
    /// Returns full patience; a total of zero is none.
    pub(crate) fn new(most_ms: u64, bytes_per_second: u64, total_ms: u64) -> Self {
        let most = Duration::from_millis(most_ms);
        let total = (total_ms > 0).then(|| Duration::from_millis(total_ms));
        Self { most, bytes_per_second: bytes_per_second.max(1), total, left: most, spent: Duration::ZERO, since: None }
    }

    /// Begins to wait, or goes on waiting; returns until when.
    pub(crate) fn wait(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        let total = self.total.map_or(self.left, |total| total.saturating_sub(self.spent));
        since + self.left.min(total)
    }

    /// Whether it is waited.
    pub(crate) fn waits(&self) -> bool {
        self.since.is_some()
    }

    /// Whether some of the patience is gone, or going.
    pub(crate) fn is_lost(&self) -> bool {
        self.left < self.most || self.waits()
    }

    /// Takes note of bytes; `now` is asked only after a wait.
    pub(crate) fn came(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take() {
            let waited = now().saturating_duration_since(since);
            self.left = self.left.saturating_sub(waited);
            self.spent += waited;
        }
        if self.left < self.most {
            let gained = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / self.bytes_per_second);
            self.left = self.most.min(self.left + gained);
        }
    }

    /// Takes note of how a write went; a client that takes nothing, or too little, ends in an error. A WebSocket
    /// may be silent; what is behind it looks after that.
    pub(crate) fn wrote(&mut self, link: &Link, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                let now = Instant::now();
                let until = self.wait(now);
                if now >= until {
                    let message = "the client takes nothing of what is sent to it";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
                }
                link.await_write(Some(until));
            }
            Poll::Ready(Ok(count)) if self.waits() => {
                self.came(*count, Instant::now);
                link.await_write(None);
            }
            Poll::Ready(_) => {}
        }
        written
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        (self.left, self.spent, self.since) = (self.most, Duration::ZERO, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_lost_by_waiting_and_gained_by_bytes() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::new(30_000, 100, 0);
        assert_eq!(pace.wait(start), start + 30 * second);
        assert_eq!(pace.wait(start + second), start + 30 * second, "it goes on waiting");
        pace.came(100, || start + 10 * second);
        assert_eq!(pace.wait(start + 10 * second), start + 31 * second);
        pace.came(1_000_000, || start + 11 * second);
        assert_eq!(pace.wait(start + 11 * second), start + 41 * second, "never more than at first");
    }

    #[test]
    fn a_trickle_ends() {
        let (start, step) = (Instant::now(), Duration::from_secs(10));
        let mut pace = Pace::new(30_000, 240, 0);
        let mut now = start;
        for _ in 0..100 {
            if pace.wait(now) <= now + step {
                assert!(now - start < 4 * step);
                return;
            }
            now += step;
            pace.came(10, || now);
        }
        panic!("a byte per second went on for ever");
    }

    #[test]
    fn all_waits_together_may_be_limited() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::new(30_000, 1, 5_000);
        pace.wait(start);
        pace.came(1_000, || start + 4 * second);
        assert_eq!(pace.wait(start + 100 * second), start + 101 * second);
        pace.reset();
        assert_eq!(pace.wait(start), start + 5 * second);
    }
}
