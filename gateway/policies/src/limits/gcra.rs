//! The generic cell rate algorithm (ITU-T I.371): a bucket is one number, the time at which all that was
//! taken is earned back. Chosen over window counters because it is exact over every window, not only those
//! that begin on the minute, costs one comparison, and tells to the nanosecond when to come again.
//! Not for where the number is kept.

/// How fast a bucket fills and how much it holds. Times are nanoseconds since the limiter was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// In how many nanoseconds one unit is earned.
    pub interval: u64,
    /// How many units a full bucket holds.
    pub burst: u64,
    /// Grows with each configuration of the limit.
    pub generation: u32,
    /// When this configuration was made.
    pub since: u64,
}

impl Rate {
    pub(crate) fn new(requests: u64, window_seconds: u64, burst: u64) -> Self {
        // Rounded up: never more than was configured.
        let interval = (window_seconds * 1_000_000_000).div_ceil(requests);
        Self { interval, burst, generation: 0, since: 0 }
    }
}

/// A bucket: when it will be full again (0: it is full), and the rate that this was computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub full_at: u64,
    pub interval: u64,
    pub generation: u32,
}

/// What taking from a bucket came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// In how many nanoseconds there is enough; 0 if it was taken.
    pub wait: u64,
    /// How many nanoseconds the bucket now is from full.
    pub debt: u64,
    /// The interval that counts.
    pub interval: u64,
}

impl Taken {
    /// Returns how many whole units are left.
    pub(crate) fn remaining(self, burst: u64) -> u64 {
        (burst.saturating_mul(self.interval)).saturating_sub(self.debt) / self.interval.max(1)
    }
}

impl Bucket {
    /// Brings the bucket to the newest rate: what was taken stays taken, in units.
    fn adapt(&mut self, rate: &Rate) {
        if self.interval == 0 {
            (self.interval, self.generation) = (rate.interval, rate.generation);
        }
        // A request that still walks the old plan takes at the new rate.
        if self.generation >= rate.generation {
            return;
        }
        if self.interval != rate.interval {
            let debt = u128::from(self.full_at.saturating_sub(rate.since));
            let scaled = (debt * u128::from(rate.interval)).div_ceil(u128::from(self.interval));
            self.full_at = rate.since.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX));
            self.interval = rate.interval;
        }
        self.generation = rate.generation;
    }

    /// Takes `cost` units, each of which weighs `weight` intervals, if they are there. With `force` they are
    /// taken in any case, and the bucket is empty at the worst.
    pub(crate) fn take(&mut self, rate: &Rate, cost: u64, weight: u64, force: bool, now: u64) -> Taken {
        self.adapt(rate);
        let interval = self.interval;
        let price = interval.saturating_mul(cost).saturating_mul(weight);
        // Where a unit weighs more than the bucket holds, a full bucket pays for one request.
        let room = interval.saturating_mul(rate.burst).max(price);
        let debt = self.full_at.saturating_sub(now);
        let missing = (u128::from(debt) + u128::from(price)).saturating_sub(u128::from(room));
        let wait = u64::try_from(missing).unwrap_or(u64::MAX);
        if wait > 0 && !force {
            return Taken { wait, debt, interval };
        }
        let debt = debt.saturating_add(price).min(debt.max(room));
        self.full_at = now.saturating_add(debt);
        Taken { wait: 0, debt, interval }
    }

    /// Gives back what was taken for a request that another limit refused.
    pub(crate) fn give_back(&mut self, cost: u64) {
        self.full_at = self.full_at.saturating_sub(self.interval.saturating_mul(cost));
    }

    /// Returns how many nanoseconds the bucket is from full at this rate.
    pub(crate) fn debt(&mut self, rate: &Rate, now: u64) -> u64 {
        self.adapt(rate);
        self.full_at.saturating_sub(now)
    }

    /// Learns what others took: the larger debt counts.
    pub(crate) fn learn(&mut self, rate: &Rate, debt: u64, now: u64) {
        self.adapt(rate);
        self.full_at = self.full_at.max(now.saturating_add(debt));
    }
}

#[cfg(test)]
#[path = "gcra_tests.rs"]
mod tests;
