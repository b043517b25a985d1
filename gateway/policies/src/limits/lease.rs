//! One key's permits from Redis: taken here without asking, until they are spent or too old. A state machine
//! over nanoseconds, so that tests need no clock. Not for talking to Redis.

/// For how long at most a refusal of Redis is believed without asking again.
const MEMORY: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Permits {
    left: u64,
    expires: u64,
}

/// How leases of a limit are sized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How long permits are good for, from the moment before they were asked for.
    pub lifetime: u64,
    /// In how many nanoseconds one unit is earned.
    pub interval: u64,
    /// How many units a full bucket holds.
    pub burst: u64,
}

/// What came of taking permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Taken; they would have lasted until then. `renew`: fetch more in the background.
    Taken { expires: u64, renew: bool },
    /// Redis said that there are none, and from when there are.
    Refused { wait: u64 },
    /// Somebody must ask Redis.
    Ask,
}

/// What to ask Redis for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// As many as this, if they are there.
    pub ask: u64,
    /// But none, if there are not this many.
    pub need: u64,
    /// How far the bucket was from full by what is known here: after a flush Redis knows less.
    pub debt: u64,
}

/// What Redis answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// So many permits.
    pub granted: u64,
    /// How far the bucket is from full now, in nanoseconds.
    pub debt: u64,
    /// In how many nanoseconds there will be what was needed.
    pub wait: u64,
}

/// The permits of one key on this node.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    current: Permits,
    next: Permits,
    /// How many permits the current grant brought, and when.
    size: u64,
    began: u64,
    spent: u64,
    asked: u64,
    asking: bool,
    /// What those who wait for the answer want together.
    waiting: u64,
    refuse_until: u64,
    retry_at: u64,
    full_at: u64,
    /// The interval that `full_at` was computed with.
    interval: u64,
}

impl Lease {
    /// Takes permits, or says what to do.
    pub(crate) fn take(&mut self, cost: u64, now: u64, terms: &Terms) -> Take {
        self.adapt(now, terms);
        self.expire(now);
        let held = self.current.left + self.next.left;
        if held >= cost {
            let expires = self.current.expires;
            let first = cost.min(self.current.left);
            self.current.left -= first;
            self.next.left -= cost - first;
            self.spent += cost;
            let low = self.size > 1 && self.current.left * 4 < self.size || self.size > 4 && self.ends_soon(now, terms);
            let renew = low && self.next.left == 0 && !self.asking && now >= self.refuse_until;
            return Take::Taken { expires, renew };
        }
        if now < self.refuse_until {
            return Take::Refused { wait: self.refuse_until.max(self.retry_at) - now };
        }
        Take::Ask
    }

    /// Begins to ask, unless somebody does already; then the wish is kept for the next time.
    pub(crate) fn begin(&mut self, cost: u64, now: u64, terms: &Terms) -> Option<Wish> {
        if self.asking {
            self.waiting += cost;
            return None;
        }
        self.asking = true;
        let need = cost.saturating_sub(self.current.left + self.next.left);
        let ask = self.size_next(now, terms).max(need + self.waiting);
        (self.asked, self.waiting) = (ask, 0);
        Some(Wish { ask, need, debt: self.full_at.saturating_sub(now) })
    }

    /// Learns what Redis answered to what was asked at `sent`.
    pub(crate) fn granted(&mut self, grant: Grant, sent: u64, now: u64, terms: &Terms) {
        self.asking = false;
        self.expire(now);
        self.interval = terms.interval;
        // Stamped with the time of asking, which is before Redis looked: told back to Redis it never adds to what
        // Redis knows itself.
        self.full_at = sent.saturating_add(grant.debt);
        if grant.granted > 0 {
            // Counted from before Redis granted them, by a clock that only goes forward.
            let expires = sent.saturating_add(terms.lifetime);
            if self.current.left == 0 {
                self.current = Permits { left: grant.granted, expires };
            } else {
                let together = if self.next.left == 0 { expires } else { self.next.expires.min(expires) };
                self.next = Permits { left: self.next.left + grant.granted, expires: together };
            }
            (self.size, self.began, self.spent) = (grant.granted, now, 0);
        }
        if grant.granted < self.asked {
            // There are no more for now: do not ask for every request, but a few times a lease at most.
            let missing = (self.asked - grant.granted).saturating_mul(terms.interval);
            let pause = missing.min(terms.lifetime / 4).max(grant.wait).min(MEMORY);
            self.refuse_until = now.saturating_add(pause);
            self.retry_at = now.saturating_add(grant.wait.max(terms.interval));
        }
    }

    /// Learns that Redis did not answer.
    pub(crate) fn failed(&mut self) {
        self.asking = false;
    }

    /// Gives back what was taken for a request that another limit refused, if it would still be good.
    pub(crate) fn give_back(&mut self, cost: u64, expires: u64, now: u64) {
        if now < expires && self.current.expires == expires {
            self.current.left += cost;
        } else if now < expires && self.next.expires == expires {
            self.next.left += cost;
        }
    }

    /// Returns how many units are left in all, as far as is known here, and how far the bucket is from full.
    pub(crate) fn state(&self, now: u64, terms: &Terms) -> (u64, u64) {
        let held = self.current.left + self.next.left;
        let debt = self.full_at.saturating_sub(now);
        let free = terms.burst.saturating_mul(terms.interval).saturating_sub(debt) / terms.interval.max(1);
        ((free + held).min(terms.burst), debt.saturating_sub(held.saturating_mul(terms.interval)))
    }

    /// Says whether forgetting it would lose nothing but a trip.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        let over = |permits: &Permits| permits.left == 0 || permits.expires <= now;
        over(&self.current) && over(&self.next) && !self.asking && self.refuse_until <= now
    }

    /// Takes on a changed rate: what was taken stays taken, in units, and Redis is asked anew.
    fn adapt(&mut self, now: u64, terms: &Terms) {
        if self.interval != terms.interval {
            let debt = u128::from(self.full_at.saturating_sub(now)) * u128::from(terms.interval);
            let scaled = debt.div_ceil(u128::from(self.interval.max(1)));
            self.full_at = now.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX));
            (self.interval, self.refuse_until) = (terms.interval, 0);
        }
    }

    fn expire(&mut self, now: u64) {
        if self.current.expires <= now {
            self.current.left = 0;
        }
        if self.next.expires <= now {
            self.next.left = 0;
        }
        if self.current.left == 0 && self.next.left > 0 {
            self.current = std::mem::take(&mut self.next);
        }
    }

    fn ends_soon(&self, now: u64, terms: &Terms) -> bool {
        self.current.expires.saturating_sub(now) < terms.lifetime / 4 && self.spent * 2 > self.size
    }

    /// As many as were spent in half a lease lately, at most doubling: what is not spent is lost.
    fn size_next(&self, now: u64, terms: &Terms) -> u64 {
        let age = now.saturating_sub(self.began);
        if self.size == 0 || age >= terms.lifetime * 2 {
            return 1;
        }
        let expected = u128::from(self.spent) * u128::from(terms.lifetime / 2) / u128::from(age.max(1));
        let expected = u64::try_from(expected).unwrap_or(u64::MAX);
        expected.clamp(1, self.size.saturating_mul(2)).min((terms.burst / 8).max(1))
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
