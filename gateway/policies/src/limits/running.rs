//! What limits remember: made once, kept through reloads, each limit under its name and each tenant apart.
//! Not for how a route uses them.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kernel::Result;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use super::config::{Fields, LimiterConfig};
use super::metrics::LimitMetrics;
use super::redis::Redis;
use super::shared::SharedLease;
use super::table::Table;

/// How many tenants a limit remembers before those at rest are forgotten.
const TENANTS_AT_FIRST: usize = 1_024;
const LEASE_SHARDS: usize = 16;

/// Counts for all limits of a process. Cheap to clone; made once, for a new one has forgotten everything.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    epoch: Instant,
    namespace: Box<str>,
    fields: Fields,
    seed: RandomState,
    limits: Mutex<HashMap<String, Arc<Running>>>,
    redis: Option<Arc<Redis>>,
    metrics: LimitMetrics,
}

impl Limiter {
    /// Returns a limiter; with a Redis URL, limits may be shared by nodes. Background work runs on `runtime`.
    pub fn new(
        config: &LimiterConfig,
        redis_url: Option<&str>,
        runtime: &Handle,
        registry: &mut Registry,
    ) -> Result<Self> {
        config.check()?;
        let timeout = Duration::from_millis(config.redis_timeout_ms);
        Ok(Self(Arc::new(Inner {
            epoch: Instant::now(),
            namespace: config.namespace.as_str().into(),
            fields: config.fields,
            seed: RandomState::new(),
            limits: Mutex::default(),
            redis: redis_url.map(|url| Redis::open(url, timeout, runtime)).transpose()?,
            metrics: LimitMetrics::register(registry),
        })))
    }

    /// Says whether limits in Redis are counted there at this moment; nothing, if there is no Redis.
    pub fn redis_is_there(&self) -> Option<bool> {
        self.0.redis.as_ref().map(|redis| redis.is_there())
    }

    /// Returns nanoseconds since the limiter was made, never 0.
    pub(super) fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.epoch).as_nanos()).unwrap_or(u64::MAX) + 1
    }

    pub(super) fn fields(&self) -> Fields {
        self.0.fields
    }

    pub(super) fn namespace(&self) -> &str {
        &self.0.namespace
    }

    pub(super) fn seed(&self) -> RandomState {
        self.0.seed.clone()
    }

    pub(super) fn redis(&self) -> Option<&Arc<Redis>> {
        self.0.redis.as_ref()
    }

    pub(super) fn metrics(&self) -> &LimitMetrics {
        &self.0.metrics
    }

    /// Returns what the limit of this name remembers, which is nothing the first time.
    pub(super) fn running(&self, name: &str, keys: usize) -> Arc<Running> {
        let mut limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.entry(name.to_owned()).or_insert_with(|| Arc::new(Running::new(keys))).clone()
    }
}

/// What one limit remembers.
pub(crate) struct Running {
    keys: usize,
    generation: AtomicU32,
    /// Of those without a tenant, and of all where tenants share.
    nobody: Arc<Group>,
    tenants: RwLock<Tenants>,
}

struct Tenants {
    groups: HashMap<u128, Arc<Group>>,
    sweep_at: usize,
}

/// What one limit remembers of one tenant: no other can push anything out of it.
pub(crate) struct Group {
    pub table: Table,
    leases: [Mutex<HashMap<u128, Arc<SharedLease>>>; LEASE_SHARDS],
    keys: usize,
}

impl Running {
    fn new(keys: usize) -> Self {
        let tenants = Tenants { groups: HashMap::new(), sweep_at: TENANTS_AT_FIRST };
        Self { keys, generation: AtomicU32::new(0), nobody: Arc::new(Group::new(keys)), tenants: RwLock::new(tenants) }
    }

    /// Returns the number of a new configuration, higher than all before.
    pub(crate) fn next_generation(&self) -> u32 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Works on what is remembered of a tenant.
    pub(crate) fn with<R>(&self, tenant: Option<u128>, now: u64, work: impl FnOnce(&Arc<Group>) -> R) -> R {
        let Some(tenant) = tenant else { return work(&self.nobody) };
        {
            let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(group) = tenants.groups.get(&tenant) {
                return work(group);
            }
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tenants.groups.len() >= tenants.sweep_at {
            tenants.groups.retain(|_, group| Arc::strong_count(group) > 1 || !group.is_idle(now));
            tenants.sweep_at = (tenants.groups.len() * 2).max(TENANTS_AT_FIRST);
        }
        let group = tenants.groups.entry(tenant).or_insert_with(|| Arc::new(Group::new(self.keys))).clone();
        drop(tenants);
        work(&group)
    }
}

impl Group {
    fn new(keys: usize) -> Self {
        Self { table: Table::new(keys), leases: Default::default(), keys }
    }

    /// Returns the permits of a key. To forget some costs a trip, never a permit too many.
    pub(crate) fn lease(&self, key: u128, now: u64) -> Arc<SharedLease> {
        let shard = &self.leases[(key >> 32) as usize % LEASE_SHARDS];
        let mut leases = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = leases.get(&key) {
            return lease.clone();
        }
        if leases.len() >= self.keys.div_ceil(LEASE_SHARDS) {
            let victim = leases.iter().take(8).min_by_key(|(_, lease)| !lease.is_idle(now)).map(|(key, _)| *key);
            victim.and_then(|key| leases.remove(&key));
        }
        leases.entry(key).or_default().clone()
    }

    fn is_idle(&self, now: u64) -> bool {
        let lease_idle = |leases: &Mutex<HashMap<u128, Arc<SharedLease>>>| {
            leases.lock().unwrap_or_else(PoisonError::into_inner).values().all(|lease| lease.is_idle(now))
        };
        self.table.is_idle(now) && self.leases.iter().all(lease_idle)
    }
}
