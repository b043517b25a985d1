//! Random numbers for spreading load and waits. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// One core's generator: xorshift64*.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Default for Random {
    fn default() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u8))
    }
}

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed | 1))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `end`, or 0 for an end of 0.
    pub(crate) fn below(&self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Returns a time from nothing to `longest`: full jitter.
    pub(crate) fn within(&self, longest: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_and_reach_all_of_a_range() {
        let random = Random::default();
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[random.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(random.below(0), 0);
        assert!(random.within(Duration::from_secs(1)) < Duration::from_secs(1));
    }
}
