//! One timer for everything that can be late, moved as seldom as can be: it stays set to an early moment
//! and only looks again when that comes. Setting a new timer for each request costs more than the request's
//! own bookkeeping. Not for periodic work.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// A timer that is used again and again.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    set: Instant,
}

impl Alarm {
    pub(crate) fn new(due: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(due.into())), set: due }
    }

    /// Is ready when the moment has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        if due < self.set {
            self.set(due);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if due <= self.set {
                return Poll::Ready(());
            }
            self.set(due);
        }
    }

    fn set(&mut self, due: Instant) {
        self.sleep.as_mut().reset(due.into());
        self.set = due;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_moment_asked_for_whatever_it_was_set_to() {
        let start = tokio::time::Instant::now().into_std();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::new(at(10));
        for seconds in [30, 40, 35, 41, 100] {
            let due = at(seconds.max(tokio::time::Instant::now().duration_since(start.into()).as_secs()));
            poll_fn(|cx| alarm.poll(cx, due)).await;
            let now = tokio::time::Instant::now().into_std();
            assert!(now >= due && now < due + Duration::from_millis(5));
        }
    }
}
