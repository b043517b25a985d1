//! The configuration of the cache as a whole. Not for routes; see `policy`.

use std::fmt;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// The cache that all routes and cores share.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How much memory stored answers may take, with their heads.
    pub memory_bytes: u64,
    /// How long a request waits for the same answer that another one is fetching, before it goes by itself.
    pub wait_ms: u64,
    /// For how long it is remembered that answers to a request cannot be kept, so that nobody waits for one.
    pub hit_for_miss_ms: u64,
    /// How long the origin may pause within a body that is being kept.
    pub fill_idle_ms: u64,
    /// A second tier that nodes share.
    pub redis: Option<RedisConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, wait_ms: 5_000, hit_for_miss_ms: 5_000, fill_idle_ms: 30_000, redis: None }
    }
}

/// The tier in Redis.
#[derive(Deserialize, Serialize, Clone, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// Where it is; may hold a password.
    pub url: String,
    /// What every key begins with; nodes with the same prefix share.
    pub prefix: String,
    /// The longest that anything is kept.
    pub max_ttl_seconds: u64,
    /// Larger answers stay in memory only.
    pub max_object_bytes: u64,
    /// How long a look-up may take.
    pub timeout_ms: u64,
    /// For how long an answer may be given after another node has invalidated it, when Redis cannot tell.
    pub bound_ms: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            prefix: "portico:cache".into(),
            max_ttl_seconds: 24 * 3_600,
            max_object_bytes: 256 << 10,
            timeout_ms: 50,
            bound_ms: 2_000,
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Config {
    /// Says in one sentence what is wrong.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::invalid("config.invalid", message));
        if self.memory_bytes < 1 << 20 {
            return wrong("cache.memory_bytes: less than a megabyte keeps nothing");
        }
        match &self.redis {
            Some(redis) if redis.url.is_empty() => wrong("cache.redis.url: it is missing"),
            Some(redis) if redis.prefix.is_empty() => wrong("cache.redis.prefix: it is empty"),
            Some(redis) if redis.max_ttl_seconds == 0 => wrong("cache.redis.max_ttl_seconds: nothing would be kept"),
            Some(redis) if redis.timeout_ms == 0 => wrong("cache.redis.timeout_ms: no look-up would ever end in time"),
            Some(redis) if redis.bound_ms < 500 => wrong("cache.redis.bound_ms: at least 500, the pace of the nodes"),
            _ => Ok(()),
        }
    }
}
