//! The parts of an upstream's configuration that resilience reads. Not for what they do: each has a
//! module of its own.

use std::time::Duration;

use http::StatusCode;
use kernel::Result;
use serde::{Deserialize, Serialize};

use crate::config::wrong;

/// Connections to one server.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Connections to one server at most; every core has an equal part of them, and at least one.
    pub max_connections: usize,
    /// Requests that wait on one core for a connection to one server; more are refused.
    pub queue: usize,
    /// How long they wait at most.
    pub queue_ms: u64,
    /// An idle connection is closed after this time. Keep it below the server's own.
    pub idle_ms: u64,
    /// A connection is closed after this many requests; 0 means no limit.
    pub max_requests: u64,
    /// Streams on one HTTP/2 connection at most; the server may allow fewer.
    pub max_streams: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { max_connections: 1024, queue: 1024, queue_ms: 1_000, idle_ms: 15_000, max_requests: 0, max_streams: 100 }
    }
}

/// Active health checks.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// What to ask for, such as `/health`; empty means no checks.
    pub path: String,
    /// Time between two checks of a server; each is up to a tenth earlier or later.
    pub interval_ms: u64,
    /// A check that takes longer has failed.
    pub timeout_ms: u64,
    /// Good checks in a row that make a server healthy again.
    pub healthy_after: u32,
    /// Bad checks in a row that make it unhealthy.
    pub unhealthy_after: u32,
    /// First and last status of a good answer.
    pub expect: [u16; 2],
    /// With every server unhealthy or ejected: `true` uses all of them, `false` refuses requests.
    pub panic: bool,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            interval_ms: 5_000,
            timeout_ms: 2_000,
            healthy_after: 2,
            unhealthy_after: 3,
            expect: [200, 299],
            panic: true,
        }
    }
}

/// Passive ejection of single servers.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierConfig {
    /// Connect failures or 5xx answers in a row after which a server is left out; 0 means never. 5xx
    /// answers to one tenant alone never eject: its circuit breaker deals with them.
    pub consecutive_failures: u32,
    /// How long it is left out the first time; each further time is that much longer.
    pub base_ms: u64,
    /// The longest time.
    pub max_ms: u64,
    /// At most this share of the servers is left out at once, 0 to 1.
    pub max_share: f64,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self { consecutive_failures: 5, base_ms: 5_000, max_ms: 120_000, max_share: 0.5 }
    }
}

/// Circuit breakers: one per tenant for its answers, one per upstream for connections.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Whether there are any.
    pub enabled: bool,
    /// Share of failures in the window that opens, 0 to 1.
    pub failure_ratio: f64,
    /// Requests in the window below which it stays closed.
    pub min_requests: u32,
    /// The window; it starts at a first failure.
    pub window_ms: u64,
    /// How long it stays open the first time; doubled when the probes fail, up to sixteen times.
    pub open_ms: u64,
    /// Requests let through at once to see whether it works again; as many must succeed.
    pub probes: u32,
    /// Tenants watched at most; those beyond are not.
    pub max_tenants: usize,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            failure_ratio: 0.5,
            min_requests: 20,
            window_ms: 10_000,
            open_ms: 5_000,
            probes: 3,
            max_tenants: 10_000,
        }
    }
}

/// Retries and hedged requests. Routes say whether they use them.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Attempts at most, the first one included; 1 means no retries.
    pub max_attempts: u32,
    /// Retries and hedges as a share of the requests in the last ten seconds, 0 to 1.
    pub budget_ratio: f64,
    /// Retries in ten seconds that are always allowed.
    pub budget_floor: u32,
    /// Answers that are retried.
    pub statuses: Vec<u16>,
    /// The mean of the first wait is half of this; each further one doubles it (full jitter).
    pub backoff_ms: u64,
    /// The longest wait.
    pub backoff_max_ms: u64,
    /// A body up to this size is kept for a retry.
    pub max_body_bytes: usize,
    /// Time after which a hedged route asks a second server; 0 means the observed 95th percentile.
    pub hedge_after_ms: u64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            budget_ratio: 0.2,
            budget_floor: 3,
            statuses: vec![502, 503, 504],
            backoff_ms: 50,
            backoff_max_ms: 1_000,
            max_body_bytes: 64 * 1024,
            hedge_after_ms: 0,
        }
    }
}

/// Requests in flight to an upstream.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct BulkheadConfig {
    /// Requests in flight at most, until the end of their bodies; 0 means no limit.
    pub max_in_flight: usize,
    /// Requests that wait for a place, first come first served; more are refused at once.
    pub queue: usize,
    /// How long they wait at most.
    pub queue_ms: u64,
    /// The share of the places, waiting ones included, that one tenant may hold, 0 to 1.
    pub tenant_share: f64,
    /// The share of the places, and of a core's connections to one server, that requests of one tenant
    /// (without one: of one address) may hold while their bodies still come, 0 to 1. Never above the share
    /// of a tenant.
    pub upload_share: f64,
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self { max_in_flight: 1024, queue: 256, queue_ms: 1_000, tenant_share: 1.0, upload_share: 0.25 }
    }
}

fn is_share(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

impl PoolConfig {
    pub(crate) fn check(&self) -> Result<()> {
        match self.max_connections == 0 || self.idle_ms == 0 || self.max_streams == 0 {
            true => Err(wrong("pool.max_connections, pool.idle_ms and pool.max_streams must be at least 1")),
            false => Ok(()),
        }
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}

impl HealthConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if self.path.is_empty() {
            return Ok(());
        }
        if !self.path.starts_with('/') || self.path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(wrong("health.path must be a path such as /health"));
        }
        if self.interval_ms == 0 || self.timeout_ms == 0 || self.healthy_after == 0 || self.unhealthy_after == 0 {
            return Err(wrong("the times and counts of health must be at least 1"));
        }
        let [first, last] = self.expect;
        match (100..=599).contains(&first) && (first..=599).contains(&last) {
            true => Ok(()),
            false => Err(wrong("health.expect must be the first and the last status of a range, such as [200, 299]")),
        }
    }
}

impl OutlierConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !is_share(self.max_share) {
            return Err(wrong("outlier.max_share must be 0 to 1"));
        }
        match self.base_ms == 0 || self.max_ms < self.base_ms {
            true => Err(wrong("outlier.base_ms must be at least 1 and at most outlier.max_ms")),
            false => Ok(()),
        }
    }
}

impl BreakerConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.failure_ratio > 0.0 && self.failure_ratio <= 1.0) {
            return Err(wrong("breaker.failure_ratio must be above 0 and at most 1"));
        }
        match self.min_requests == 0 || self.window_ms < 10 || self.open_ms == 0 || self.probes == 0 {
            true => Err(wrong("breaker: min_requests, open_ms and probes must be at least 1, window_ms at least 10")),
            false => Ok(()),
        }
    }
}

impl RetryConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if !is_share(self.budget_ratio) {
            return Err(wrong("retry.budget_ratio must be 0 to 1"));
        }
        if !(1..=10).contains(&self.max_attempts) {
            return Err(wrong("retry.max_attempts must be 1 to 10"));
        }
        let retriable = |status: &u16| StatusCode::from_u16(*status).is_ok_and(|status| status.as_u16() >= 400);
        match self.statuses.iter().all(retriable) {
            true => Ok(()),
            false => Err(wrong("retry.statuses must be statuses of failures, such as 503")),
        }
    }
}

impl BulkheadConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let is_part = |share: f64| is_share(share) && share > 0.0;
        match is_part(self.tenant_share) && is_part(self.upload_share) {
            true => Ok(()),
            false => Err(wrong("bulkhead.tenant_share and bulkhead.upload_share must be above 0 and at most 1")),
        }
    }

    /// Returns the share of one sender's uploads.
    pub(crate) fn upload_share(&self) -> f64 {
        self.upload_share.min(self.tenant_share)
    }
}
