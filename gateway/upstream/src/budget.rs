//! A retry budget: what may be sent again, as a share of what was asked (Envoy's and Linkerd's idea), so
//! that retries never become the load. Those in backoff are counted when they start to wait. Not for what
//! may be retried.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::settings::RetryConfig;
use crate::window::Window;

const WINDOW: Duration = Duration::from_secs(10);

/// One budget.
#[derive(Debug)]
pub(crate) struct Budget {
    window: Mutex<Window>,
    ratio: f64,
    floor: u32,
}

impl Budget {
    pub(crate) fn new(config: &RetryConfig, floors: u32) -> Self {
        let floor = config.budget_floor.saturating_mul(floors);
        Self { window: Mutex::new(Window::new(WINDOW)), ratio: config.budget_ratio, floor }
    }

    /// Counts a request.
    pub(crate) fn deposit(&self, now: Instant) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.roll(now);
        window.count(now, 1, 0);
    }

    /// Takes one retry or hedge, if there is one left.
    pub(crate) fn withdraw(&self, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.roll(now);
        let allowed = ((self.ratio * f64::from(window.all())) as u32).max(self.floor);
        let left = window.marked() < allowed;
        if left {
            window.count(now, 0, 1);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests_or_the_floor() {
        let budget = Budget::new(&RetryConfig::default(), 1);
        let mut now = Instant::now();
        let mut retries = 0;
        for _ in 0..1000 {
            now += Duration::from_micros(100);
            budget.deposit(now);
            retries += u32::from(budget.withdraw(now));
        }
        assert_eq!(retries, 200);
        let quiet = now + Duration::from_secs(60);
        assert_eq!((0..10).filter(|_| budget.withdraw(quiet)).count(), 3);
    }
}
