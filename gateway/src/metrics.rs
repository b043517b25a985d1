//! What the door counts, per route template and class of status, so that no path or caller can
//! make a new series. Not for logs.

use std::time::Duration;

use kernel::{Error, Result};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    service: String,
    method: String,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    service: String,
    method: String,
    route: String,
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
    }
}

/// The metrics of a process.
pub struct Metrics {
    registry: Registry,
    requests: Family<StatusLabels, Counter>,
    durations: Family<RouteLabels, Histogram, Durations>,
    in_flight: Gauge,
    tokens: TokenMetrics,
}

/// The metrics of the token cache.
#[derive(Clone)]
pub(crate) struct TokenMetrics {
    /// Answered from the cache.
    pub hit: Counter,
    /// Not in the cache.
    pub miss: Counter,
    /// In the cache, but too old, expired, or not to be believed without the feed.
    pub stale: Counter,
    /// Removed because they were revoked.
    pub revoked: Counter,
    pub entries: Gauge,
}

/// The metrics of one route, looked up once.
pub(crate) struct RouteMetrics {
    by_class: [Counter; 5],
    durations: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::default();
        let durations = Family::new_with_constructor(Durations);
        let in_flight = Gauge::default();
        let lookups = Family::<OutcomeLabels, Counter>::default();
        let lookup = |outcome| lookups.get_or_create_owned(&OutcomeLabels { outcome });
        let tokens = TokenMetrics {
            hit: lookup("hit"),
            miss: lookup("miss"),
            stale: lookup("stale"),
            revoked: Counter::default(),
            entries: Gauge::default(),
        };
        let mut registry = Registry::with_prefix("portico");
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_request_duration_seconds", "Seconds to the head of the answer", durations.clone());
        registry.register("http_requests_in_flight", "Requests being worked on", in_flight.clone());
        registry.register("token_cache_lookups", "Tokens looked up in the cache, by outcome", lookups.clone());
        registry.register("token_cache_revoked", "Cached tokens that were revoked", tokens.revoked.clone());
        registry.register("token_cache_entries", "Tokens in the cache", tokens.entries.clone());
        Self { registry, requests, durations, in_flight, tokens }
    }
}

impl Metrics {
    /// Returns the registry, for others to add what they count.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Returns the gauge of requests being worked on.
    pub(crate) fn in_flight(&self) -> Gauge {
        self.in_flight.clone()
    }

    /// Returns the metrics of the token cache.
    pub(crate) fn tokens(&self) -> TokenMetrics {
        self.tokens.clone()
    }

    pub(crate) fn route(&self, service: &str, method: &str, route: &str) -> RouteMetrics {
        let labels = RouteLabels { service: service.to_owned(), method: method.to_string(), route: route.to_owned() };
        let by_class = [1, 2, 3, 4, 5].map(|class| {
            let labels = StatusLabels {
                service: labels.service.clone(),
                method: labels.method.clone(),
                route: labels.route.clone(),
                status: format!("{class}xx"),
            };
            self.requests.get_or_create_owned(&labels)
        });
        RouteMetrics { by_class, durations: self.durations.get_or_create_owned(&labels) }
    }

    /// Returns the metrics in the Prometheus text format.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry)
            .map_err(|error| Error::internal("the metrics could not be written").source_error(error))?;
        Ok(text)
    }
}

impl RouteMetrics {
    pub(crate) fn count(&self, status: u16, duration: Duration) {
        let class = (usize::from(status) / 100).clamp(1, 5) - 1;
        self.by_class[class].inc();
        self.durations.observe(duration.as_secs_f64());
    }
}
