//! What the cache counts, by outcome and tier: the number of series is fixed. Not for logs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::stored::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
}

/// The counters.
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    outcomes: [Counter; 6],
    pub stored: Counter,
    pub invalidated: Counter,
    pub redis_hits: Counter,
    pub redis_misses: Counter,
    pub redis_failures: Counter,
    pub entries: Gauge,
    pub bytes: Gauge,
}

const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Hit, "hit"),
    (Outcome::Miss, "miss"),
    (Outcome::Coalesced, "coalesced"),
    (Outcome::Stale, "stale"),
    (Outcome::Revalidated, "revalidated"),
    (Outcome::Bypass, "bypass"),
];

impl Outcome {
    /// Returns its name in metrics and logs.
    pub fn name(self) -> &'static str {
        OUTCOMES[self as usize].1
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::<Labels, Counter>::default();
        let outcomes = OUTCOMES.map(|(_, outcome)| requests.get_or_create_owned(&Labels { outcome }));
        Self {
            requests,
            outcomes,
            stored: Counter::default(),
            invalidated: Counter::default(),
            redis_hits: Counter::default(),
            redis_misses: Counter::default(),
            redis_failures: Counter::default(),
            entries: Gauge::default(),
            bytes: Gauge::default(),
        }
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("cache_requests", "Requests on cached routes, by outcome", self.requests.clone());
        registry.register("cache_stored", "Answers stored", self.stored.clone());
        registry.register("cache_invalidated", "Answers invalidated", self.invalidated.clone());
        registry.register("cache_redis_hits", "Answers found in Redis", self.redis_hits.clone());
        registry.register("cache_redis_misses", "Answers not found in Redis", self.redis_misses.clone());
        registry.register("cache_redis_failures", "Times that Redis did not answer", self.redis_failures.clone());
        registry.register("cache_entries", "Keys in memory", self.entries.clone());
        registry.register("cache_bytes", "Bytes of stored answers in memory", self.bytes.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_name() {
        for (outcome, name) in OUTCOMES {
            assert_eq!(outcome.name(), name);
        }
    }
}
