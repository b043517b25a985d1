//! Stops asking a service that fails again and again, and tries one request now and then. Not for what
//! is answered meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kernel::Timestamp;

/// Counts the failures in a row of one service, over all tenants.
#[derive(Debug)]
pub(crate) struct Circuit {
    most: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Nobody asks before this moment, while it is set.
    resting_until: Option<Timestamp>,
}

impl Circuit {
    /// Returns a circuit that rests for `pause` after `most` failures in a row.
    pub fn new(most: u32, pause: Duration) -> Self {
        Self { most, pause, state: Mutex::default() }
    }

    /// Says whether to ask now. After a rest only one caller is let through, until it is known how it went
    /// or another rest is over.
    pub fn lets(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.resting_until {
            Some(until) if now < until => false,
            Some(_) => {
                state.resting_until = Some(now.plus(self.pause));
                true
            }
            None => true,
        }
    }

    /// Notes that it answered.
    pub fn answered(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// Notes that it failed; says whether it is given a rest from now on, and was not before.
    pub fn failed(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures < self.most {
            return false;
        }
        state.resting_until.replace(now.plus(self.pause)).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn it_rests_after_failures_in_a_row_and_tries_one_afterwards() {
        let circuit = Circuit::new(3, Duration::from_secs(2));
        let at = |seconds: i64| Timestamp(seconds * SECOND);
        assert!(!circuit.failed(at(0)) && !circuit.failed(at(0)));
        circuit.answered();
        assert!(!circuit.failed(at(1)) && !circuit.failed(at(1)), "an answer between them counts from the start");
        assert!(circuit.lets(at(1)));
        assert!(circuit.failed(at(1)));
        assert!(!circuit.lets(at(1)) && !circuit.lets(at(2)));
        assert!(circuit.lets(at(3)), "one tries");
        assert!(!circuit.lets(at(3)), "the others do not");
        assert!(!circuit.failed(at(4)), "it rested already");
        assert!(!circuit.lets(at(5)));
        assert!(circuit.lets(at(6)), "and one tries again");
        circuit.answered();
        assert!(circuit.lets(at(6)) && circuit.lets(at(6)));
    }

    #[test]
    fn a_try_that_nobody_hears_of_again_does_not_close_it_for_ever() {
        let circuit = Circuit::new(1, Duration::from_secs(2));
        assert!(circuit.failed(Timestamp(0)));
        assert!(circuit.lets(Timestamp(2 * SECOND)), "whose client goes away");
        assert!(!circuit.lets(Timestamp(3 * SECOND)));
        assert!(circuit.lets(Timestamp(4 * SECOND)));
    }
}
