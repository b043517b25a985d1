//! One upstream as all cores share it, and the set of them that a configuration makes. Not for
//! connections, which a [`crate::Client`] has, one per core.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderName;
use kernel::{Clock, Result};
use tokio::runtime::Handle;

use crate::breaker::{Breaker, BreakerRules};
use crate::budget::Budget;
use crate::bulkhead::Bulkhead;
use crate::config::{Config, Scheme, Server, ServerConfig, TIME_LEFT};
use crate::health;
use crate::latency::Percentiles;
use crate::member::Members;
use crate::metrics::{Metrics, UpstreamMetrics};
use crate::tenants::Tenants;
use crate::tls::Tls;
use crate::uploads::{Uploads, share_of};

/// How many tenants may need the floor of their retry budgets at a time before they share it.
const FLOORS: u32 = 4;

/// What upstreams need of the process.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where health checks run: not a core of the gateway.
    pub runtime: Handle,
    /// The calendar, for `Retry-After` dates.
    pub clock: Clock,
    /// Where they count.
    pub metrics: Metrics,
}

/// The servers that answer the same requests, and what is known of them.
pub struct Upstream {
    pub(crate) name: String,
    pub(crate) config: Config,
    pub(crate) members: ArcSwap<Members>,
    pub(crate) turn: AtomicUsize,
    pub(crate) rules: BreakerRules,
    /// For connections, which are everybody's.
    pub(crate) breaker: Breaker,
    pub(crate) tenants: Tenants,
    pub(crate) budget: Budget,
    pub(crate) bulkhead: Bulkhead,
    pub(crate) uploads: Arc<Uploads>,
    /// Of one sender at most.
    pub(crate) most_uploads: usize,
    pub(crate) percentiles: Percentiles,
    pub(crate) metrics: UpstreamMetrics,
    pub(crate) clock: Clock,
    pub(crate) first_byte: Duration,
    pub(crate) body_idle: Option<Duration>,
    pub(crate) deadline_header: Option<HeaderName>,
    pub(crate) since: Instant,
    /// The servers that the configuration named last.
    configured: Mutex<Vec<ServerConfig>>,
    /// Made when the first server wants it; reading the system's certificates takes a while.
    tls: Mutex<Option<Tls>>,
}

/// The upstreams of one configuration, by name.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(BTreeMap<String, Arc<Upstream>>);

impl Upstreams {
    /// Makes the upstreams. One whose configuration is as before is the one as before, with its breakers,
    /// counts and connections; where only the servers differ, those that stay keep theirs.
    pub fn build(
        configs: &BTreeMap<String, Config>,
        previous: Option<&Self>,
        environment: &Environment,
    ) -> Result<Self> {
        let mut upstreams = BTreeMap::new();
        let mut changes = Vec::new();
        for (name, config) in configs {
            config.check().map_err(|error| error.context(format!("upstream {name}")))?;
            let before = previous.and_then(|before| before.0.get(name));
            let upstream = match before.filter(|before| before.is_as(config)) {
                Some(upstream) => {
                    changes.push((upstream, &config.servers, config.servers()?));
                    upstream.clone()
                }
                None => Upstream::new(name, config.clone(), environment)
                    .map_err(|error| error.context(format!("upstream {name}")))?,
            };
            upstreams.insert(name.clone(), upstream);
        }
        // Only now, when nothing can be wrong any more, does anything change that is in use.
        for (upstream, configured, servers) in changes {
            upstream.configure_servers(configured, servers)?;
        }
        Ok(Self(upstreams))
    }

    /// Returns the upstream of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(name)
    }

    /// Returns all of them with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Upstream>)> {
        self.0.iter().map(|(name, upstream)| (name.as_str(), upstream))
    }
}

impl Upstream {
    /// Makes an upstream and starts its checks.
    pub fn new(name: &str, config: Config, environment: &Environment) -> Result<Arc<Self>> {
        config.check()?;
        let metrics = environment.metrics.upstream(name);
        let rules = BreakerRules::new(&config.breaker);
        let header = Some(&config.timeouts.header).filter(|name| !name.is_empty());
        let upstream = Self {
            name: name.to_owned(),
            members: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            rules,
            breaker: Breaker::new(&rules),
            tenants: Tenants::new(rules, config.retry.clone(), config.breaker.max_tenants),
            // The tenants' own budgets are the narrower ones as long as there are few of them.
            budget: Budget::of_all(&config.retry, FLOORS),
            bulkhead: Bulkhead::new(&config.bulkhead, metrics.waiting.clone()),
            uploads: Arc::default(),
            most_uploads: match config.bulkhead.max_in_flight {
                0 => usize::MAX,
                most => share_of(config.bulkhead.upload_share(), most),
            },
            percentiles: Percentiles::default(),
            metrics,
            clock: environment.clock.clone(),
            first_byte: config.timeouts.first_byte(),
            body_idle: config.timeouts.body_idle(),
            deadline_header: header.and_then(|name| match name.as_str() {
                // Cloning it is free.
                TIME_LEFT => Some(HeaderName::from_static(TIME_LEFT)),
                other => HeaderName::try_from(other).ok(),
            }),
            since: Instant::now(),
            configured: Mutex::new(config.servers.clone()),
            tls: Mutex::new(None),
            config,
        };
        upstream.set_servers(upstream.config.servers()?)?;
        let upstream = Arc::new(upstream);
        health::start(&upstream, &environment.runtime);
        Ok(upstream)
    }

    /// Says whether a configuration is this upstream's but for the servers.
    fn is_as(&self, config: &Config) -> bool {
        Config { servers: Vec::new(), ..config.clone() } == Config { servers: Vec::new(), ..self.config.clone() }
    }

    /// Takes servers from a configuration, unless it names the same as before: discovery may have changed them.
    fn configure_servers(&self, configured: &[ServerConfig], servers: Vec<Server>) -> Result<()> {
        let before = std::mem::replace(&mut *self.lock_configured(), configured.to_vec());
        match before == configured {
            true => Ok(()),
            false => self.set_servers(servers),
        }
    }

    fn lock_configured(&self) -> MutexGuard<'_, Vec<ServerConfig>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Replaces the servers. Those that stay keep connections and counts; requests to the others end well.
    pub fn set_servers(&self, servers: Vec<Server>) -> Result<()> {
        if servers.iter().any(|server| server.scheme == Scheme::Https) {
            self.tls()?;
        }
        // Two lists must not be made from the same one before.
        let _one_at_a_time = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.members.load_full();
        let after = Members::from(&servers, &before, self.config.protocol, &self.config.tls)?;
        before.retire_all_but(&after);
        self.members.store(Arc::new(after));
        Ok(())
    }

    /// Returns the servers at this moment.
    pub fn servers(&self) -> Vec<Server> {
        let members = self.members.load();
        members.slots.iter().map(|slot| Server { weight: slot.weight, ..slot.member.server.clone() }).collect()
    }

    /// Says whether there is a server that is well.
    pub fn is_usable(&self, now: Instant) -> bool {
        self.members.load().slots.iter().any(|slot| slot.member.is_usable(|| self.tick(now)))
    }

    pub(crate) fn tls(&self) -> Result<Tls> {
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        match &*tls {
            Some(tls) => Ok(tls.clone()),
            None => Ok(tls.insert(Tls::new(&self.config.tls, self.config.protocol)?).clone()),
        }
    }

    /// Returns a moment in milliseconds on this upstream's own clock, from 1 on.
    pub(crate) fn tick(&self, now: Instant) -> u64 {
        tick(self.since, now)
    }

    /// Brings the gauges up to date and forgets what is too old.
    pub(crate) fn sweep(&self, now: Instant) {
        self.tenants.sweep(now);
        self.breaker.sweep(now);
        let ejected = self.members.load().ejected(self.tick(now));
        self.metrics.ejected.set(ejected as i64);
    }
}

/// Returns a moment in milliseconds after another, from 1 on.
pub(crate) fn tick(since: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(since).as_millis() as u64 + 1
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).field("servers", &self.servers()).finish()
    }
}
