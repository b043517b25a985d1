//! How many frames a second are taken from a client: the generic cell rate algorithm, with a second's worth at
//! once. Who sends more is read more slowly; nothing is lost. Not for requests; those have limits elsewhere.

use std::time::Duration;

use tokio::time::Instant;

const BURST: Duration = Duration::from_secs(1);

/// A client's pace.
#[derive(Debug)]
pub(crate) struct Pace {
    each: Duration,
    paid_until: Option<Instant>,
}

impl Pace {
    /// 0 is no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { each: Duration::from_secs(1).checked_div(per_second).unwrap_or_default(), paid_until: None }
    }

    /// Counts frames that have been taken.
    pub(crate) fn took(&mut self, frames: u64, now: Instant) {
        if !self.each.is_zero() {
            let frames = u32::try_from(frames).unwrap_or(u32::MAX);
            let from = self.paid_until.map_or(now, |until| until.max(now));
            self.paid_until = Some(from + self.each.saturating_mul(frames));
        }
    }

    /// Says whether no frame may be taken now.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.paid_until.is_some_and(|until| until > now + BURST)
    }

    /// Returns when the next frame may be taken.
    pub(crate) fn free_at(&self) -> Instant {
        self.paid_until.map_or_else(Instant::now, |until| until - BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_passes_at_once_and_then_the_rate() {
        let (now, mut pace) = (Instant::now(), Pace::new(10));
        pace.took(10, now);
        assert!(!pace.holds(now), "a second's worth");
        pace.took(5, now);
        assert!(pace.holds(now) && pace.free_at() == now + Duration::from_millis(500));
        assert!(!pace.holds(now + Duration::from_millis(500)));
        let mut free = Pace::new(0);
        free.took(u64::MAX, now);
        assert!(!free.holds(now));
    }
}
