//! What the guard of a socket, the task that drives the connection and the service that answers tell each
//! other. Not for bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

const ASKED: u8 = 1;
const AGREED: u8 = 2;
const DECLINED: u8 = 3;

/// What is known of one connection on both sides of hyper. hyper wants it to be `Send`; no two threads use it at
/// a time.
#[derive(Debug)]
pub struct Link {
    origin: Instant,
    /// Until when the client must send or take something, in microseconds; 0 for no such time.
    read_due: AtomicU64,
    write_due: AtomicU64,
    /// Until when an HTTP/2 client must let something be sent.
    window_due: AtomicU64,
    /// The number of the request that asks for a WebSocket.
    asking: AtomicU64,
    upgrade: AtomicU8,
    refused: AtomicBool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            read_due: AtomicU64::new(0),
            write_due: AtomicU64::new(0),
            window_due: AtomicU64::new(0),
            asking: AtomicU64::new(0),
            upgrade: AtomicU8::new(0),
            refused: AtomicBool::new(false),
        }
    }
}

impl Link {
    /// Says how a request was answered, counted from 1 in the order in which hyper handed them out; `agreed` for a
    /// 101. Returns whether the request had asked for a WebSocket.
    pub fn answered(&self, request: u64, agreed: bool) -> bool {
        let asked = self.asking.load(Ordering::Relaxed) == request && self.upgrade.load(Ordering::Relaxed) == ASKED;
        if asked {
            self.upgrade.store(if agreed { AGREED } else { DECLINED }, Ordering::Release);
        }
        asked
    }

    /// Whether a request has begun to come that is not all here.
    pub fn awaits_read(&self) -> bool {
        self.read_due.load(Ordering::Relaxed) != 0
    }

    /// Whether a request of this connection was refused: the client may still be sending, and would not see the
    /// answer if the socket were closed at once.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ask(&self, request: u64) {
        self.asking.store(request, Ordering::Relaxed);
        self.upgrade.store(ASKED, Ordering::Release);
    }

    /// Returns whether the answer to the request for a WebSocket agreed, once it is there.
    pub(crate) fn agreed(&self) -> Option<bool> {
        match self.upgrade.load(Ordering::Acquire) {
            AGREED => Some(true),
            DECLINED => Some(false),
            _ => None,
        }
    }

    pub(crate) fn await_read(&self, until: Option<Instant>) {
        self.read_due.store(self.micros(until), Ordering::Relaxed);
    }

    pub(crate) fn await_write(&self, until: Option<Instant>) {
        self.write_due.store(self.micros(until), Ordering::Relaxed);
    }

    pub(crate) fn await_window(&self, until: Option<Instant>) {
        self.window_due.store(self.micros(until), Ordering::Relaxed);
    }

    fn micros(&self, until: Option<Instant>) -> u64 {
        until.map_or(0, |until| (until.saturating_duration_since(self.origin).as_micros() as u64).max(1))
    }

    fn due(&self) -> Option<Instant> {
        let times = [&self.read_due, &self.write_due, &self.window_due];
        let first = times.into_iter().map(|time| time.load(Ordering::Relaxed)).filter(|time| *time != 0).min()?;
        Some(self.origin + Duration::from_micros(first))
    }
}

/// The timer of a connection. It is made when there is something to wait for, which for most requests there is
/// not.
#[derive(Debug)]
pub struct Watchdog {
    link: Arc<Link>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Watches this connection.
    pub fn new(link: Arc<Link>) -> Self {
        Self { link, sleep: None }
    }

    /// Ready when the connection must be polled again, because its client has been waited for long enough. To be
    /// called after the connection was polled.
    pub fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.link.due() else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while Instant::now() < due {
            // One that is set too early is set again when it goes off: times mostly get later.
            if sleep.deadline() > due || sleep.is_elapsed() {
                sleep.as_mut().reset(due);
            }
            ready!(sleep.as_mut().poll(context));
        }
        // The guard sets them again, if it still waits.
        self.link.await_read(None);
        self.link.await_write(None);
        self.link.await_window(None);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_follows_the_earliest_time() {
        let link = Arc::new(Link::default());
        let mut watchdog = Watchdog::new(link.clone());
        let mut context = Context::from_waker(Waker::noop());
        assert!(watchdog.poll_due(&mut context).is_pending());
        let later = Some(Instant::now() + Duration::from_secs(1_000));
        link.await_read(later);
        assert!(watchdog.poll_due(&mut context).is_pending());
        link.await_write(Some(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(watchdog.poll_due(&mut context).is_ready());
        assert!(watchdog.poll_due(&mut context).is_pending(), "nothing is waited for");
        link.await_write(later);
        assert!(watchdog.poll_due(&mut context).is_pending());
        link.await_read(Some(Instant::now() + Duration::from_millis(5)));
        std::future::poll_fn(|context| watchdog.poll_due(context)).await;
    }

    #[test]
    fn only_the_answer_to_the_request_that_asked_decides() {
        let link = Link::default();
        assert!(!link.answered(1, true));
        link.ask(2);
        assert!(!link.answered(1, true));
        assert_eq!(link.agreed(), None);
        assert!(link.answered(2, true));
        assert_eq!(link.agreed(), Some(true));
        link.ask(3);
        assert!(link.answered(3, false));
        assert_eq!(link.agreed(), Some(false));
    }
}
