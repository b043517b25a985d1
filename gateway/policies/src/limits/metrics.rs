//! What limits count about themselves: by the limit's name and the outcome, both from the configuration,
//! so that no client can make a series. Not for logs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    limit: String,
    outcome: &'static str,
}

#[derive(Clone, Default)]
pub(crate) struct LimitMetrics {
    checks: Family<Labels, Counter>,
    trips: Family<Labels, Counter>,
}

/// The counters of one limit, looked up once.
pub(crate) struct Counters {
    pub allowed: Counter,
    pub refused: Counter,
    /// Decided without Redis, in whichever way was declared.
    pub without_redis: Counter,
    /// Trips to Redis that brought permits.
    pub granted: Counter,
    /// Trips that brought none.
    pub empty: Counter,
    /// Trips that failed.
    pub failed: Counter,
}

impl LimitMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("rate_limit_checks", "Requests checked against a limit, by outcome", metrics.checks.clone());
        registry.register("rate_limit_redis_trips", "Trips to Redis for permits, by outcome", metrics.trips.clone());
        metrics
    }

    pub(crate) fn of(&self, limit: &str) -> Counters {
        let labels = |outcome| Labels { limit: limit.to_owned(), outcome };
        let check = |outcome| self.checks.get_or_create_owned(&labels(outcome));
        let trip = |outcome| self.trips.get_or_create_owned(&labels(outcome));
        Counters {
            allowed: check("allowed"),
            refused: check("refused"),
            without_redis: check("without_redis"),
            granted: trip("granted"),
            empty: trip("empty"),
            failed: trip("failed"),
        }
    }
}
