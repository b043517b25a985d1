//! What outlives a reload: the upstreams with their pools and figures, where their servers are, counters of
//! limits, caches, issuers' keys, open sockets. Made once for a process. Not for what a file declares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use discovery::{Discovery, Guard};
use http_cache::Cache;
use issuers::Issuers;
use kernel::{Clock, Result, TenantId};
use metering::{Ledger, MemoryLedger, Metering};
use policies::{Limiter, LimiterConfig, Shedders};
use prometheus_client::registry::Registry;
use telemetry::Tracer;
use tokio::runtime::Handle;
use upstream::{Environment, Server, Upstream, Upstreams};
use web::Authenticate;
use ws_proxy::Sockets;

use crate::arrival::Arrivals;
use crate::federation::Federation;
use crate::figures::{Figures, Standing};
use crate::token_cache::TokenCache;

/// Longer than any request.
const NEVER_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// What a gateway is made with.
pub struct LastingParts<'p> {
    /// The runtime of work in the background.
    pub runtime: Handle,
    /// The clock.
    pub clock: Clock,
    /// The Redis server that nodes share, if there is one.
    pub redis_url: Option<&'p str>,
    /// What all limits have in common.
    pub limiter: &'p LimiterConfig,
    /// The cache that all routes share.
    pub cache: &'p http_cache::Config,
    /// Keeps what was reserved and used of language models' budgets; nothing keeps it in memory.
    pub ledger: Option<Arc<dyn Ledger>>,
}

/// The state of a gateway that a new file does not touch.
#[derive(Clone)]
pub struct Lasting(Arc<Inner>);

struct Inner {
    environment: Environment,
    limiter: Limiter,
    sockets: Sockets,
    shedders: Shedders,
    arrivals: Arrivals,
    cache: Cache,
    metering: Metering,
    tracer: OnceLock<Tracer>,
    /// The tokens that are believed, and under which issuers.
    believed: Mutex<(Option<Arc<TokenCache>>, Vec<issuers::Config>)>,
    issuers: Arc<ArcSwap<Issuers>>,
    upstreams: Mutex<Known>,
}

/// The upstreams of the file that was read last.
#[derive(Default)]
struct Known {
    upstreams: Upstreams,
    /// The installation's own services in other processes, with where they are.
    services: BTreeMap<String, (String, Arc<Upstream>)>,
    /// Who keeps saying where the servers are.
    guards: BTreeMap<String, (Arc<Upstream>, discovery::Config, Guard)>,
}

impl Lasting {
    /// Returns the state of a new gateway; `runtime` does its work in the background.
    pub fn new(parts: LastingParts<'_>, registry: &mut Registry) -> Result<Self> {
        let LastingParts { runtime, clock, redis_url, limiter, cache, ledger } = parts;
        let ledger = ledger.unwrap_or_else(|| Arc::new(MemoryLedger::new(clock.clone())));
        let metrics = upstream::Metrics::default();
        metrics.register(registry);
        let cache = Cache::new(cache, clock.clone(), &runtime)?;
        cache.register(registry);
        let inner = Arc::new(Inner {
            limiter: Limiter::new(limiter, redis_url, &runtime, registry)?,
            sockets: Sockets::default(),
            shedders: Shedders::new(registry),
            arrivals: Arrivals::default(),
            cache,
            metering: Metering::new(ledger, runtime.clone()),
            tracer: OnceLock::new(),
            believed: Mutex::default(),
            issuers: Arc::new(ArcSwap::from_pointee(Issuers::build(&[], None, &runtime, clock.clone())?)),
            environment: Environment { runtime, clock, metrics },
            upstreams: Mutex::default(),
        });
        registry.register_collector(Box::new(Figures(Arc::downgrade(&inner))));
        Ok(Self(inner))
    }

    /// Returns what counts for all limits.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// Has requests recorded by this tracer; the first word counts.
    pub fn trace_with(&self, tracer: Tracer) {
        let _ = self.0.tracer.set(tracer);
    }

    /// Returns what decides which requests are recorded.
    pub(crate) fn tracer(&self) -> Tracer {
        self.0.tracer.get().cloned().unwrap_or_default()
    }

    /// Returns what sheds load.
    pub(crate) fn shedders(&self) -> &Shedders {
        &self.0.shedders
    }

    /// Returns the cache.
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// Returns what counts the bodies that come.
    pub(crate) fn arrivals(&self) -> &Arrivals {
        &self.0.arrivals
    }

    /// Returns what counts tokens.
    pub fn metering(&self) -> &Metering {
        &self.0.metering
    }

    /// Returns the sockets to upstreams.
    pub fn sockets(&self) -> &Sockets {
        &self.0.sockets
    }

    /// Drops the kept answers of a tenant that carry one of these tags; and those that all tenants share.
    pub fn forget_answers(&self, tenant: TenantId, tags: &[&str]) {
        self.0.cache.invalidate(Some(tenant), tags);
        self.0.cache.invalidate(None, tags);
    }

    /// Puts the tokens of declared issuers before the installation's own. What the cache believes of a key
    /// that its issuer has taken back is forgotten.
    pub fn with_issuers(&self, own: Arc<dyn Authenticate>, cache: &Arc<TokenCache>) -> Arc<dyn Authenticate> {
        self.believed().0 = Some(cache.clone());
        let believed = cache.clone();
        self.0.issuers.load().on_change(move |issuer| {
            tracing::info!(issuer, "a key was taken back; tokens are checked anew");
            believed.revoke(&web::Revocation::Everything);
        });
        Arc::new(Federation { own, issuers: self.0.issuers.clone() })
    }

    /// Makes the issuers of a file; keys that are known are taken over.
    pub(crate) fn set_issuers(&self, configs: &[issuers::Config]) -> Result<()> {
        let Environment { runtime, clock, .. } = &self.0.environment;
        let before = self.0.issuers.load_full();
        let made = Issuers::build(configs, Some(&before), runtime, clock.clone())?;
        self.0.issuers.store(Arc::new(made));
        let mut believed = self.believed();
        // What was checked under other rules is checked anew.
        if believed.1 != configs {
            believed.1 = configs.to_vec();
            if let Some(cache) = &believed.0 {
                cache.revoke(&web::Revocation::Everything);
            }
        }
        Ok(())
    }

    fn believed(&self) -> MutexGuard<'_, (Option<Arc<TokenCache>>, Vec<issuers::Config>)> {
        self.0.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the upstream of this name.
    pub fn upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        self.known().upstreams.get(name).cloned()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the upstreams of a file; one that is as before goes on with its connections and figures.
    pub(crate) fn upstreams(&self, configs: &BTreeMap<String, upstream::Config>) -> Result<Upstreams> {
        let mut known = self.known();
        let made = Upstreams::build(configs, Some(&known.upstreams), &self.0.environment)?;
        known.upstreams = made.clone();
        Ok(made)
    }

    /// Returns the upstream of one of the installation's own services at this address.
    pub fn service(&self, name: &str, url: &str) -> Result<Arc<Upstream>> {
        let mut known = self.known();
        if let Some((_, upstream)) = known.services.get(name).filter(|(before, _)| before == url) {
            return Ok(upstream.clone());
        }
        let servers = url.split(',').map(|url| upstream::ServerConfig::Url(url.trim().to_owned())).collect();
        let config = upstream::Config {
            servers,
            // As in this process: the request's own time is all that ends it, and an answer is an answer.
            timeouts: upstream::Timeouts { first_byte_ms: NEVER_MS, ..Default::default() },
            retry: upstream::RetryConfig { statuses: Vec::new(), ..Default::default() },
            // How much is worked on at a time, and whose, is for the other process to say; streams stay open.
            bulkhead: upstream::BulkheadConfig { max_in_flight: 0, upload_share: 1.0, ..Default::default() },
            pool: upstream::PoolConfig { max_connections: 16_384, ..Default::default() },
            ..upstream::Config::default()
        };
        let upstream = Upstream::new(name, config, &self.0.environment)?;
        known.services.insert(name.to_owned(), (url.to_owned(), upstream.clone()));
        Ok(upstream)
    }

    /// Asks for the servers of an upstream where the file says, for as long as it says so.
    pub(crate) fn discover(&self, sources: BTreeMap<String, discovery::Config>) -> Result<()> {
        let mut known = self.known();
        let upstreams = known.upstreams.clone();
        let mut guards = BTreeMap::new();
        for (name, config) in sources {
            let Some(upstream) = upstreams.get(&name) else { continue };
            let kept =
                known.guards.remove(&name).filter(|(of, before, _)| Arc::ptr_eq(of, upstream) && *before == config);
            let guard = match kept {
                Some((_, _, guard)) => guard,
                None => {
                    let told = upstream.clone();
                    Discovery::start(&name, &config, &self.0.environment.runtime, move |endpoints| {
                        let servers = endpoints.iter().filter_map(|found| Server::parse(&found.url, found.weight).ok());
                        if let Err(error) = told.set_servers(servers.collect()) {
                            tracing::warn!(error = %error, upstream = told.name(), "found servers cannot be used");
                        }
                    })?
                }
            };
            guards.insert(name, (upstream.clone(), config, guard));
        }
        known.guards = guards;
        Ok(())
    }
}

impl Standing for Inner {
    fn sockets(&self) -> ws_proxy::Counts {
        self.sockets.counts()
    }

    fn issuers(&self) -> Vec<issuers::State> {
        self.issuers.load().states()
    }

    fn sources(&self) -> Vec<discovery::State> {
        let known = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        known.guards.values().map(|(_, _, guard)| guard.state()).collect()
    }
}
