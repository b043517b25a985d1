//! How far the body of a request is on its way, and in whose hands it was for how long. Not for its bytes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;

use crate::failure::FailureKind;
use crate::uploads::Uploading;

/// A server that gives up on a body earlier than this did not give up on a slow client.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far an upload is; shared by the sender and the one who waits for the answer.
#[derive(Debug)]
pub(crate) struct Upload {
    stage: AtomicU8,
    /// Microseconds from `since` to the last thing that happened.
    last: AtomicU64,
    /// Microseconds for which the client had the move, before the present one.
    waited: AtomicU64,
    /// Bytes that are still to come, of a body whose length was stated: nobody asks for more then.
    left: AtomicU64,
    since: Instant,
    more: Mutex<More>,
}

#[derive(Debug, Default)]
struct More {
    error: Option<axum::Error>,
    /// What it takes of its sender's share.
    held: Option<[Uploading; 2]>,
}

/// Who has the next move in an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The server: it must take what there is.
    Server,
    /// The client: it must send more.
    Client,
    /// Nobody: all is sent.
    Done,
    /// Nobody: the client broke off.
    Broken,
}

impl Upload {
    /// Starts to watch a body of the length that the request's head states, if it does.
    pub(crate) fn new(now: Instant, length: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            stage: AtomicU8::new(Stage::Server as u8),
            last: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            left: AtomicU64::new(length.unwrap_or(u64::MAX)),
            since: now,
            more: Mutex::default(),
        })
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Server,
            1 => Stage::Client,
            2 => Stage::Done,
            _ => Stage::Broken,
        }
    }

    fn more(&self) -> MutexGuard<'_, More> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes of its sender's share until the client has sent everything.
    pub(crate) fn hold(&self, held: [Uploading; 2]) {
        self.more().held = Some(held);
    }

    /// Returns when something happened last.
    pub(crate) fn last(&self) -> Instant {
        self.since + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// Returns when the client had sent all of it.
    pub(crate) fn finished(&self) -> Option<Instant> {
        (self.stage() == Stage::Done).then(|| self.last())
    }

    /// Says whether a failure is rather the client's, who kept the server waiting for most of the time.
    pub(crate) fn excuses(&self, kind: FailureKind, now: Instant) -> bool {
        let mut waited = Duration::from_micros(self.waited.load(Ordering::Relaxed));
        if self.stage() == Stage::Client {
            waited += now.saturating_duration_since(self.last());
        }
        let most = waited * 2 > now.saturating_duration_since(self.since);
        most && match kind {
            FailureKind::Deadline => true,
            // Servers have limits of their own for slow clients.
            FailureKind::Reset => self.stage() != Stage::Done && waited >= PATIENCE,
            _ => false,
        }
    }

    /// Takes what broke the client's body.
    pub(crate) fn take_error(&self) -> Option<axum::Error> {
        self.more().error.take()
    }

    fn turn(&self, stage: Stage) {
        self.turn_at(stage, Instant::now());
    }

    fn turn_at(&self, stage: Stage, now: Instant) {
        let before = self.stage();
        if before == Stage::Done && stage == Stage::Done {
            return;
        }
        let at = now.saturating_duration_since(self.since).as_micros() as u64;
        let last = self.last.swap(at, Ordering::Relaxed);
        if before == Stage::Client {
            self.waited.fetch_add(at.saturating_sub(last), Ordering::Relaxed);
        }
        self.stage.store(stage as u8, Ordering::Release);
        if matches!(stage, Stage::Done | Stage::Broken) {
            let held = self.more().held.take();
            drop(held);
        }
    }

    /// Watches one poll of a body.
    pub(crate) fn watch(
        &self,
        polled: Poll<Option<Result<Frame<Bytes>, axum::Error>>>,
        ended: bool,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match polled {
            Poll::Pending => {
                if self.stage() != Stage::Client {
                    self.turn(Stage::Client);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let came = frame.data_ref().map_or(0, |data| data.len() as u64);
                let left = self.left.load(Ordering::Relaxed).saturating_sub(came);
                self.left.store(left, Ordering::Relaxed);
                self.turn(if ended || left == 0 { Stage::Done } else { Stage::Server });
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.turn(Stage::Done);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.more().error = Some(error);
                self.turn(Stage::Broken);
                Poll::Ready(Some(Err(axum::Error::new(BrokenOff))))
            }
        }
    }
}

/// The client's body broke off; why is kept beside.
#[derive(Debug)]
struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body of the request broke off")
    }
}

impl std::error::Error for BrokenOff {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_the_move_for_longer_has_the_blame() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let upload = Upload::new(start, None);
        let late = |milliseconds| upload.excuses(FailureKind::Deadline, at(milliseconds));
        assert!(!late(10), "nobody asked the client yet");
        upload.turn_at(Stage::Client, at(10));
        assert!(!late(19) && late(21));
        upload.turn_at(Stage::Server, at(100));
        assert!(late(150) && !late(200), "the server does not take it");
        upload.turn_at(Stage::Client, at(200));
        upload.turn_at(Stage::Done, at(2_200));
        upload.turn_at(Stage::Done, at(2_300));
        assert_eq!(upload.finished(), Some(at(2_200)));
        assert!(late(3_000) && !late(5_000), "it came whole, and the server had as long as the client");
        assert!(!upload.excuses(FailureKind::Reset, at(2_300)), "it came whole");
        assert!(!upload.excuses(FailureKind::FirstByteTimeout, at(2_300)), "that begins with the end of the body");
    }

    #[test]
    fn a_server_may_lose_its_patience_but_not_at_once() {
        let start = Instant::now();
        let upload = Upload::new(start, None);
        upload.turn_at(Stage::Client, start);
        assert!(!upload.excuses(FailureKind::Reset, start + PATIENCE / 2));
        assert!(upload.excuses(FailureKind::Reset, start + PATIENCE));
    }
}
