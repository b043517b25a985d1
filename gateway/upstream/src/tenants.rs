//! What an upstream remembers per tenant: breaker, retry budget and places held. A tenant's failures
//! never show in another's answers. Not for who a tenant is.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kernel::TenantId;

use crate::breaker::{Breaker, BreakerRules, Effect};
use crate::budget::Budget;
use crate::settings::RetryConfig;

const SHARDS: usize = 16;

/// One tenant's state at one upstream.
#[derive(Debug)]
pub(crate) struct TenantState {
    pub breaker: Breaker,
    pub budget: Budget,
    /// Places in the bulkhead that it holds or waits for.
    pub held: AtomicUsize,
}

/// The tenants of one upstream, a bounded number of them.
pub(crate) struct Tenants {
    shards: [Mutex<HashMap<TenantId, Arc<TenantState>>>; SHARDS],
    hasher: RandomState,
    per_shard: usize,
    /// Requests that belong to no tenant share one state.
    nobody: Arc<TenantState>,
    rules: BreakerRules,
    retry: RetryConfig,
    /// Breakers that remember something: while it is 0, requests look nothing up.
    busy: AtomicUsize,
}

impl Tenants {
    pub(crate) fn new(rules: BreakerRules, retry: RetryConfig, most: usize) -> Self {
        let nobody = Arc::new(TenantState::new(&rules, &retry));
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            per_shard: most.div_ceil(SHARDS).max(1),
            nobody,
            rules,
            retry,
            busy: AtomicUsize::new(0),
        }
    }

    /// Says whether any tenant's breaker has something to remember.
    pub(crate) fn any_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// Returns the tenant's state, made when it is new; none when there are too many others.
    pub(crate) fn state(&self, tenant: Option<TenantId>) -> Option<Arc<TenantState>> {
        let Some(tenant) = tenant else { return Some(self.nobody.clone()) };
        let shard = &self.shards[self.hasher.hash_one(tenant) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = shard.get(&tenant) {
            return Some(state.clone());
        }
        if shard.len() >= self.per_shard {
            // Only what nobody would miss makes room: no tenant can push another's state out.
            shard.retain(|_, state| state.is_missed());
            if shard.len() >= self.per_shard {
                return None;
            }
        }
        let state = Arc::new(TenantState::new(&self.rules, &self.retry));
        shard.insert(tenant, state.clone());
        Some(state)
    }

    /// Keeps the count up with what a record changed.
    pub(crate) fn note(&self, effect: Effect) {
        if effect.woke {
            self.busy.fetch_add(1, Ordering::AcqRel);
        }
        if effect.slept {
            self.busy.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Forgets what is too old; called now and then, off the request path.
    pub(crate) fn sweep(&self, now: Instant) {
        self.note(self.nobody.breaker.sweep(now));
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for state in shard.values() {
                self.note(state.breaker.sweep(now));
            }
        }
    }
}

impl TenantState {
    fn new(rules: &BreakerRules, retry: &RetryConfig) -> Self {
        Self { breaker: Breaker::new(rules), budget: Budget::new(retry), held: AtomicUsize::new(0) }
    }

    /// Says whether forgetting it would change an answer. A budget that is lost starts at its floor.
    fn is_missed(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || self.breaker.is_busy()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::breaker::Ticket;
    use crate::random::Random;
    use crate::settings::BreakerConfig;

    fn tenants(most: usize) -> Tenants {
        Tenants::new(BreakerRules::new(&BreakerConfig::default()), RetryConfig::default(), most)
    }

    #[test]
    fn too_many_tenants_go_unwatched_and_push_nobody_out() {
        let tenants = tenants(32);
        let rules = BreakerRules::new(&BreakerConfig::default());
        let now = Instant::now();
        let mut kept = Vec::new();
        for _ in 0..200 {
            let id = TenantId::new();
            if let Some(state) = tenants.state(Some(id)) {
                tenants.note(state.breaker.record(&rules, Ticket::Quiet, now, false));
                kept.push((id, Arc::downgrade(&state)));
            }
        }
        assert!(kept.len() <= 32);
        assert!(kept.iter().all(|(_, state)| state.strong_count() == 1), "a busy one was pushed out");
        assert!(tenants.any_busy());
        tenants.sweep(now + Duration::from_secs(11));
        assert!(!tenants.any_busy());
        assert!(tenants.state(Some(TenantId::new())).is_some(), "there is room again");
    }

    /// Two tenants, alone and interleaved: what a breaker decides for one never depends on the other.
    #[test]
    fn tenants_do_not_interfere() {
        let rules = BreakerRules::new(&BreakerConfig::default());
        for seed in 1..100 {
            let random = Random::seeded(seed);
            let start = Instant::now();
            let script: Vec<(usize, u64, bool)> = (0..600)
                .map(|n| {
                    let whose = random.below(2) as usize;
                    (whose, n * 20, random.below(10) < if whose == 0 { 8 } else { 1 })
                })
                .collect();
            let ids = [TenantId::new(), TenantId::new()];
            let run = |only: Option<usize>| {
                let tenants = tenants(100);
                let mut decisions = [Vec::new(), Vec::new()];
                for &(whose, at, fails) in &script {
                    if only.is_some_and(|only| only != whose) {
                        continue;
                    }
                    let now = start + Duration::from_millis(at);
                    let state = tenants.state(Some(ids[whose])).expect("there is room");
                    state.budget.deposit(now);
                    let admitted = state.breaker.admit(&rules, now);
                    let retried = fails && state.budget.withdraw(now);
                    if let Ok(ticket) = admitted {
                        tenants.note(state.breaker.record(&rules, ticket, now, !fails));
                    }
                    decisions[whose].push((admitted.is_ok(), retried));
                }
                decisions
            };
            let together = run(None);
            assert_eq!(together[0], run(Some(0))[0], "seed {seed}");
            assert_eq!(together[1], run(Some(1))[1], "seed {seed}");
            assert!(together[0].iter().any(|(admitted, _)| !admitted), "the failing one's circuit opened");
            assert!(together[1].iter().all(|(admitted, _)| *admitted));
        }
    }
}
