//! How long to wait after something failed: longer each time, up to a bound, and never the same for
//! all. Not for what comes of it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Pause {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Pause {
    /// Returns one that has seen no failure.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Forgets the failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns how long to wait after one more failure: half of the doubled time, and up to as much by chance.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        whole / 2 + spread(whole / 2)
    }
}

/// Returns a time between nothing and this, by chance.
pub(crate) fn spread(most: Duration) -> Duration {
    let thousandths = u32::try_from(RandomState::new().hash_one(0) % 1_001).unwrap_or_default();
    most.saturating_mul(thousandths) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_bound_and_starts_again() {
        let mut pause = Pause::new(Duration::from_millis(100), Duration::from_secs(2));
        for whole in [100, 200, 400, 800, 1600, 2000, 2000] {
            let next = u64::try_from(pause.next().as_millis()).expect("small");
            assert!((whole / 2..=whole).contains(&next), "{next} of {whole}");
        }
        pause.reset();
        assert!(pause.next() <= Duration::from_millis(100));
        (0..100).for_each(|_| assert!(pause.next() <= Duration::from_secs(2)));
    }
}
