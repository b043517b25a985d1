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
    /// What is allowed beside the share.
    beside: u32,
}

impl Budget {
    /// Returns a tenant's budget: the share or the floor.
    pub(crate) fn new(config: &RetryConfig) -> Self {
        let window = Mutex::new(Window::new(WINDOW));
        Self { window, ratio: config.budget_ratio, floor: config.budget_floor, beside: 0 }
    }

    /// Returns the budget of an upstream: the share, and beside it the floors of so many tenants, so that one
    /// which uses up its share leaves the others their floors.
    pub(crate) fn of_all(config: &RetryConfig, tenants: u32) -> Self {
        let beside = config.budget_floor.saturating_mul(tenants);
        Self { window: Mutex::new(Window::new(WINDOW)), ratio: config.budget_ratio, floor: 0, beside }
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
        let allowed = ((self.ratio * f64::from(window.all())) as u32).max(self.floor).saturating_add(self.beside);
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
        let budget = Budget::new(&RetryConfig::default());
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

    #[test]
    fn a_tenant_that_uses_up_its_share_leaves_another_its_floor() {
        let (config, now) = (RetryConfig::default(), Instant::now());
        let (all, large, small) = (Budget::of_all(&config, 4), Budget::new(&config), Budget::new(&config));
        let ask = |own: &Budget| {
            own.deposit(now);
            all.deposit(now);
        };
        let again = |own: &Budget| own.withdraw(now) && all.withdraw(now);
        (0..100).for_each(|_| ask(&large));
        assert_eq!((0..100).filter(|_| again(&large)).count(), 20);
        ask(&small);
        assert_eq!((0..100).filter(|_| again(&small)).count(), 3);
    }
}
