//! Passive ejection: a server that fails several times in a row is left out for a growing time. Not for
//! active checks, and not for how many may be left out at once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use kernel::TenantId;

use crate::settings::OutlierConfig;

/// What is known of one server's failures. Times are milliseconds of the upstream's own clock, from 1 on.
#[derive(Debug, Default)]
pub(crate) struct Outlier {
    /// Failures in a row; a good answer costs one load while it is 0.
    streak: AtomicU32,
    /// Until when it is left out; 0 when it is not.
    until: AtomicU64,
    more: Mutex<More>,
}

#[derive(Debug, Default)]
struct More {
    /// Whose failures they are, until they are more than one tenant's.
    whose: Option<u64>,
    mixed: bool,
    times: u32,
}

/// Whose failure it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blame {
    /// The server's: no connection came about.
    Server,
    /// An answer to this tenant, who alone never gets a server ejected.
    Tenant(Option<TenantId>),
}

impl Outlier {
    /// Says whether it is left out.
    pub(crate) fn is_out(&self, now: impl FnOnce() -> u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && now() < until
    }

    /// Notes a good answer.
    pub(crate) fn good(&self) {
        if self.streak.load(Ordering::Relaxed) != 0 {
            let mut more = self.more.lock().unwrap_or_else(PoisonError::into_inner);
            self.streak.store(0, Ordering::Relaxed);
            (more.whose, more.mixed) = (None, false);
        }
    }

    /// Notes a failure; says whether the server should be left out now.
    pub(crate) fn bad(&self, config: &OutlierConfig, blame: Blame) -> bool {
        if config.consecutive_failures == 0 {
            return false;
        }
        let mut more = self.more.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = self.streak.fetch_add(1, Ordering::Relaxed) + 1;
        match blame {
            Blame::Server | Blame::Tenant(None) => more.mixed = true,
            Blame::Tenant(Some(tenant)) => {
                let mut hasher = DefaultHasher::new();
                tenant.hash(&mut hasher);
                let whose = hasher.finish();
                more.mixed |= more.whose.is_some_and(|before| before != whose);
                more.whose = Some(whose);
            }
        }
        more.mixed && streak >= config.consecutive_failures
    }

    /// Leaves it out, for longer than the time before.
    pub(crate) fn eject(&self, config: &OutlierConfig, now: u64) {
        let mut more = self.more.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.until.load(Ordering::Relaxed);
        // One that was good for long starts again.
        more.times = if now.saturating_sub(before) > config.max_ms { 1 } else { more.times.saturating_add(1) };
        let length = config.base_ms.saturating_mul(u64::from(more.times)).min(config.max_ms);
        (more.whose, more.mixed) = (None, false);
        self.streak.store(0, Ordering::Relaxed);
        self.until.store(now + length, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_streak_of_more_than_one_tenant() {
        let config = OutlierConfig::default();
        let (one, other) = (Blame::Tenant(Some(TenantId::new())), Blame::Tenant(Some(TenantId::new())));
        let outlier = Outlier::default();
        assert!((0..100).all(|_| !outlier.bad(&config, one)), "one tenant's failures are its own");
        assert!(outlier.bad(&config, other));
        outlier.good();
        assert!((0..4).all(|_| !outlier.bad(&config, Blame::Server)));
        assert!(outlier.bad(&config, Blame::Server));
    }

    #[test]
    fn it_is_out_for_longer_each_time_and_forgiven_later() {
        let config = OutlierConfig::default();
        let outlier = Outlier::default();
        let mut now = 1_000_000;
        for length in [5_000, 10_000, 15_000] {
            outlier.eject(&config, now);
            assert!(outlier.is_out(|| now + length - 1));
            assert!(!outlier.is_out(|| now + length));
            now += length + 1;
        }
        now += config.max_ms + 1;
        outlier.eject(&config, now);
        assert!(!outlier.is_out(|| now + 5_000));
    }
}
