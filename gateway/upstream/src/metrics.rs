//! What upstreams count: labels are the upstream's name and an outcome, both from the configuration and
//! this crate, so no client makes a series. Not for logs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::failure::FailureKind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    upstream: String,
    outcome: &'static str,
}

/// The metrics of all upstreams. Cheap to clone; register it once.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    attempts: Family<Outcome, Counter>,
    retries: Family<Name, Counter>,
    hedges: Family<Name, Counter>,
    denied: Family<Name, Counter>,
    replaced: Family<Name, Counter>,
    breakers: Family<Name, Gauge>,
    ejected: Family<Name, Gauge>,
    unhealthy: Family<Name, Gauge>,
    connections: Family<Name, Gauge>,
    waiting: Family<Name, Gauge>,
}

/// The metrics of one upstream, looked up once.
pub(crate) struct UpstreamMetrics {
    name: String,
    attempts: Family<Outcome, Counter>,
    pub good: Counter,
    pub client_error: Counter,
    pub server_error: Counter,
    pub retries: Counter,
    pub hedges: Counter,
    /// Retries and hedges for which the budget had nothing left.
    pub denied: Counter,
    /// Dead pooled connections that a request found.
    pub replaced: Counter,
    /// Breakers that are not closed, the tenants' and the upstream's own.
    pub breakers: Gauge,
    pub ejected: Gauge,
    pub unhealthy: Gauge,
    pub connections: Gauge,
    pub waiting: Gauge,
}

impl Metrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("upstream_attempts", "Requests sent to servers, by outcome", self.attempts.clone());
        registry.register("upstream_retries", "Attempts after a first one that failed", self.retries.clone());
        registry.register("upstream_hedges", "Second attempts beside a slow first one", self.hedges.clone());
        registry.register("upstream_retries_denied", "Retries that the budget did not allow", self.denied.clone());
        registry.register("upstream_connections_replaced", "Pooled connections found dead", self.replaced.clone());
        registry.register("upstream_breakers_open", "Circuit breakers that are not closed", self.breakers.clone());
        registry.register("upstream_servers_ejected", "Servers left out after failures", self.ejected.clone());
        registry.register("upstream_servers_unhealthy", "Servers that fail their checks", self.unhealthy.clone());
        registry.register("upstream_connections", "Connections to servers", self.connections.clone());
        registry.register("upstream_waiting", "Requests that wait for a connection or a place", self.waiting.clone());
    }

    pub(crate) fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        let name = Name { upstream: upstream.to_owned() };
        let outcome = |outcome| self.attempts.get_or_create_owned(&Outcome { upstream: upstream.to_owned(), outcome });
        UpstreamMetrics {
            name: upstream.to_owned(),
            attempts: self.attempts.clone(),
            good: outcome("good"),
            client_error: outcome("client_error"),
            server_error: outcome("server_error"),
            retries: self.retries.get_or_create_owned(&name),
            hedges: self.hedges.get_or_create_owned(&name),
            denied: self.denied.get_or_create_owned(&name),
            replaced: self.replaced.get_or_create_owned(&name),
            breakers: self.breakers.get_or_create_owned(&name),
            ejected: self.ejected.get_or_create_owned(&name),
            unhealthy: self.unhealthy.get_or_create_owned(&name),
            connections: self.connections.get_or_create_owned(&name),
            waiting: self.waiting.get_or_create_owned(&name),
        }
    }
}

impl UpstreamMetrics {
    pub(crate) fn failed(&self, kind: FailureKind) {
        let labels = Outcome { upstream: self.name.clone(), outcome: kind.name() };
        self.attempts.get_or_create_owned(&labels).inc();
    }

    pub(crate) fn answered(&self, status: http::StatusCode) {
        match status.as_u16() {
            0..400 => self.good.inc(),
            400..500 => self.client_error.inc(),
            _ => self.server_error.inc(),
        };
    }
}
