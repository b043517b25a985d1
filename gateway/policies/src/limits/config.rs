//! Limits as the configuration writes them. Not for counting.

use kernel::Result;
use serde::{Deserialize, Serialize};

use super::key::Part;
use crate::wrong;

/// Where a limit counts.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// On each node by itself.
    #[default]
    Local,
    /// On all nodes together, through Redis.
    Redis,
}

/// What a limit in Redis does while Redis is away. No request waits for it then.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnRedisLoss {
    /// Each node counts alone, and gives its share: the limit divided by `nodes`.
    #[default]
    Local,
    /// Everything passes, and is counted for when Redis is back.
    Allow,
    /// Nothing passes (503, `gateway.limiter_unavailable`).
    Refuse,
}

/// What happens to a request without the user, credential or header that a limit counts by.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// All such requests count as one, so that nobody escapes a limit by leaving something out.
    #[default]
    Together,
    /// The limit is not for them.
    Skip,
}

/// Which header fields tell clients about their limits.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Fields {
    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    #[default]
    Draft,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` (in seconds from now).
    Legacy,
    /// None; `Retry-After` on refusals all the same.
    None,
}

/// One limit, under the name by which routes refer to it. The name is part of what is counted by: two limits
/// never share a count, two routes with the same limit do, unless it counts per `route`.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// What is counted apart: any of `address` (IPv6 by /64), `tenant`, `user`, `credential`, `route`,
    /// `header:NAME`, taken together. `["header:authorization"]` with `shared = true` counts tries of a credential
    /// before it is checked.
    pub per: Vec<String>,
    /// How many requests (or units of cost) in a window, in the long run.
    pub requests: u64,
    /// The window.
    pub window_seconds: u64,
    /// How many at once after a rest; nothing: as many as in a window.
    pub burst: Option<u64>,
    /// Whether tenants share the count. Otherwise each has its own, whatever the limit counts by; but a limit per
    /// `address` (with headers and routes at most) is checked before anybody is known, to protect authentication
    /// itself, so tenants behind one address share it. `["address", "tenant"]` keeps them apart.
    pub shared: bool,
    /// What happens to requests that lack what is counted by.
    pub absent: Absent,
    /// How many keys are remembered per tenant (and for those without a tenant).
    pub keys: usize,
    /// Where it counts.
    pub store: Store,
    /// What happens while Redis is away.
    pub on_redis_loss: OnRedisLoss,
    /// How many nodes share the limit while Redis is away; 1: each gives the whole limit.
    pub nodes: u64,
    /// How long a lease of permits from Redis is good for: the error bound is the rate times this. Nothing: a
    /// hundredth of the window, within 50 and 1,000 ms.
    pub lease_ms: Option<u64>,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            per: vec!["address".to_owned()],
            requests: 600,
            window_seconds: 60,
            burst: None,
            shared: false,
            absent: Absent::default(),
            keys: 65_536,
            store: Store::default(),
            on_redis_loss: OnRedisLoss::default(),
            nodes: 1,
            lease_ms: None,
        }
    }
}

/// A route's use of a limit: `"per_user"`, or `{ limit = "per_user", cost = 5 }`.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum LimitUse {
    /// Each request costs one.
    Name(String),
    /// Each request costs so much.
    Weighted {
        /// The limit's name.
        limit: String,
        /// What a request costs.
        cost: u64,
    },
}

impl LimitUse {
    pub(super) fn parts(&self) -> (&str, u64) {
        match self {
            Self::Name(limit) => (limit, 1),
            Self::Weighted { limit, cost } => (limit, *cost),
        }
    }
}

/// What all limits have in common.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LimiterConfig {
    /// Which header fields clients get.
    pub fields: Fields,
    /// What the keys in Redis begin with.
    pub namespace: String,
    /// How long a request may wait for permits from Redis.
    pub redis_timeout_ms: u64,
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self { fields: Fields::default(), namespace: "portico".to_owned(), redis_timeout_ms: 50 }
    }
}

impl LimiterConfig {
    /// Says what is wrong with it, if anything.
    pub fn check(&self) -> Result<()> {
        if !(1..=1_000).contains(&self.redis_timeout_ms) {
            return Err(wrong("limits: redis_timeout_ms must be 1 to 1000"));
        }
        Ok(())
    }
}

impl LimitConfig {
    /// Says what is wrong with the limit of this name, if anything.
    pub fn check(&self, name: &str) -> Result<()> {
        let refuse = |why: &str| Err(wrong(format!("the limit {name} {why}")));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
            return Err(wrong(format!("the limit name {name:?} must be 1 to 64 letters, digits, _ - and .")));
        }
        if self.per.is_empty() {
            return refuse("must count per something; a shared count for all is per = [\"route\"] with shared = true");
        }
        for (index, part) in self.per.iter().enumerate() {
            Part::read(part).map_err(|why| wrong(format!("the limit {name}: {why}")))?;
            if self.per[..index].contains(part) {
                return refuse("names something twice in per");
            }
        }
        if !(1..=1_000_000_000).contains(&self.requests) || !(1..=31 * 86_400).contains(&self.window_seconds) {
            return refuse("must let 1 to 1,000,000,000 requests through in 1 second to 31 days");
        }
        let interval = u128::from(self.window_seconds) * 1_000_000_000 / u128::from(self.requests);
        if interval == 0 {
            return refuse("lets more than 1,000,000,000 requests a second through");
        }
        let full = u128::from(self.burst()) * interval;
        if self.burst() == 0 || full > 366 * 86_400 * 1_000_000_000_u128 {
            return refuse("must have a burst of at least 1 that is earned in at most a year");
        }
        if !(8..=16_777_216).contains(&self.keys) {
            return refuse("must remember 8 to 16,777,216 keys");
        }
        if !(1..=10_000).contains(&self.nodes) {
            return refuse("must be shared by 1 to 10,000 nodes");
        }
        if self.lease_ms.is_some_and(|lease| !(10..=60_000).contains(&lease)) {
            return refuse("must have leases of 10 to 60,000 ms");
        }
        Ok(())
    }

    pub(super) fn burst(&self) -> u64 {
        self.burst.unwrap_or(self.requests)
    }

    /// How long a lease is good for, in nanoseconds.
    pub(super) fn lease_ns(&self) -> u64 {
        let hundredth = (self.window_seconds * 10).clamp(50, 1_000);
        self.lease_ms.unwrap_or(hundredth) * 1_000_000
    }
}
