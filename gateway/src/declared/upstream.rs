//! A declared upstream: how its servers are found and called, and what it says of itself. Not for calling.

use serde::Deserialize;
use upstream::{
    Balance, BreakerConfig, BulkheadConfig, HealthConfig, HostHeader, OutlierConfig, PoolConfig, Protocol, RetryConfig,
    ServerConfig, Timeouts, TlsConfig,
};

/// One `[upstreams.NAME]`. What it says of calling is [`upstream::Config`]'s.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamEntry {
    /// `http://host:port` or `https://host:port`, or `{ url, weight }`.
    pub servers: Vec<ServerConfig>,
    /// Where the servers are found instead.
    pub discovery: Option<discovery::Config>,
    /// Where its OpenAPI document is, such as `/openapi.json`.
    pub openapi: String,
    /// Whether the installation is unhealthy without it.
    pub required: bool,
    /// How a server is chosen.
    pub balance: Balance,
    /// What is spoken.
    pub protocol: Protocol,
    /// What the Host header says.
    pub host: HostHeader,
    /// TLS.
    pub tls: TlsConfig,
    /// Connections.
    pub pool: PoolConfig,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Active health checks.
    pub health: HealthConfig,
    /// Passive ejection.
    pub outlier: OutlierConfig,
    /// Circuit breakers.
    pub breaker: BreakerConfig,
    /// Retries and hedged requests.
    pub retry: RetryConfig,
    /// Requests in flight.
    pub bulkhead: BulkheadConfig,
}

impl UpstreamEntry {
    /// Returns an upstream of one server with the usual settings.
    pub fn of_url(url: &str) -> Self {
        Self { servers: vec![ServerConfig::Url(url.to_owned())], ..Self::default() }
    }

    /// Returns how its servers are called.
    pub(crate) fn config(&self) -> upstream::Config {
        upstream::Config {
            servers: self.servers.clone(),
            balance: self.balance,
            protocol: self.protocol,
            host: self.host,
            tls: self.tls.clone(),
            pool: self.pool.clone(),
            timeouts: self.timeouts.clone(),
            health: self.health.clone(),
            outlier: self.outlier.clone(),
            breaker: self.breaker.clone(),
            retry: self.retry.clone(),
            bulkhead: self.bulkhead.clone(),
        }
    }
}
