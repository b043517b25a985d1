//! Makes the doors: from the places of the services and from gateway.toml, for each core, and anew when
//! the file changes. Not for what happens at a door.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use gateway::{
    Compiled, Core, Declared, Door, DoorParts, Lasting, LastingParts, Metrics, Mount, Plan, Renewal, Seat, Source,
};
use kernel::{Clock, Error, Result};
use service::{Backend, Local, Remote, Service};
use store::Store;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use web::ContextKey;

use crate::config::Config;
use crate::declared_sagas::{self, Calls};
use crate::usage_ledger::UsageLedger;
use crate::{cli, plain_upstreams};

/// Where a service is.
pub(crate) enum Place {
    /// In this process.
    Here(axum::Router),
    /// In another.
    There(String),
}

/// What it takes to reach a place.
#[derive(Clone)]
pub(crate) struct Way {
    pub runtime: Handle,
    pub key: Option<ContextKey>,
    pub clock: Clock,
    pub timeout: Duration,
}

impl Place {
    /// Returns what takes requests there.
    pub(crate) fn backend(&self, way: &Way) -> Result<Backend> {
        Ok(match self {
            Self::Here(router) => Backend::Local(Local::new(router.clone(), way.runtime.clone())),
            Self::There(url) => {
                Backend::Remote(Box::new(Remote::new(url, way.key.clone(), way.clock.clone(), way.timeout)?))
            }
        })
    }
}

/// Returns where a service is that does not run here.
pub(crate) fn upstream(config: &Config, service: &Service) -> Result<String> {
    let name = service.name;
    let missing = || {
        let message = format!("{name} does not run here, so upstreams.{name}.url must say where it does");
        Error::invalid("config.no_upstream", message)
    };
    config.upstreams.get(name).map(|upstream| upstream.url.clone()).ok_or_else(missing)
}

/// Makes a door for each core; what belongs to a core's runtime is made there.
#[derive(Clone)]
pub(crate) struct DoorFactory {
    pub places: Arc<Vec<(Service, Place)>>,
    pub parts: DoorParts,
    pub way: Way,
    pub metrics: Arc<Metrics>,
    pub lasting: Lasting,
    pub compiled: Arc<ArcSwap<Compiled>>,
}

impl DoorFactory {
    /// Returns the route plan that is in force.
    pub(crate) fn plan(&self) -> Result<Plan> {
        self.plan_of(self.compiled.load_full())
    }

    fn plan_of(&self, compiled: Arc<Compiled>) -> Result<Plan> {
        let mut mounts = Vec::new();
        for (service, place) in self.places.iter() {
            let seat = match (place, &self.way.key) {
                (Place::There(url), Some(key)) => Seat::There(self.lasting.service(service.name, url)?, key.clone()),
                _ => Seat::Here(place.backend(&self.way)?),
            };
            mounts.push(Mount { service, seat });
        }
        Plan::compile(mounts, compiled, &self.metrics)
    }

    /// Returns a door for this core.
    pub(crate) fn door(&self, core: &Rc<Core>) -> Result<Door> {
        Ok(Door::new(self.plan()?, self.parts.clone(), core.clone(), &self.metrics))
    }
}

/// Reads what is declared: gateway.toml, and the services that others run.
pub(crate) fn declared(config: &Config) -> Result<(Declared, Source)> {
    let source = match config.gateway.path() {
        Some(path) => Source::read(&path)?,
        None => Source::new("gateway.toml", ""),
    };
    let mut declared = Declared::parse(&source)?;
    plain_upstreams::declare(config, &mut declared)?;
    Ok((declared, source))
}

/// Returns what outlives a reload of the file.
pub(crate) fn lasting(config: &Config, store: Option<&Store>, clock: Clock, metrics: &mut Metrics) -> Result<Lasting> {
    let runtime = Handle::current();
    let durable =
        |store: &Store| Arc::new(UsageLedger::new(store.clone(), runtime.clone())) as Arc<dyn metering::Ledger>;
    let ledger = store.map(durable);
    let (declared, _) = declared(config)?;
    let redis_url = Some(config.redis.url.as_str()).filter(|url| !url.is_empty());
    let parts = LastingParts { runtime, clock, redis_url, limiter: &declared.limiter, cache: &declared.cache, ledger };
    Lasting::new(parts, metrics.registry())
}

/// Reads and compiles what is declared.
pub(crate) fn compile(config: &Config, lasting: &Lasting) -> Result<Compiled> {
    let (declared, source) = declared(config)?;
    Compiled::new(&declared, &source, lasting)
}

/// Returns the plan that a server with these settings would have, for reading about it.
pub(crate) fn described_plan(config: &Config) -> Result<Plan> {
    let mut metrics = Metrics::default();
    let lasting = lasting(config, None, Clock::system(), &mut metrics)?;
    let compiled = Arc::new(compile(config, &lasting)?);
    let mut services: Vec<Service> = cli::all_described();
    services.extend(declared_sagas::service(&declared(config)?.0, &Calls::default())?);
    let nowhere = || Backend::Local(Local::new(axum::Router::new(), Handle::current()));
    let proxy = config.roles.iter().any(|role| role == "proxy");
    let shown = |service: &&Service| {
        let own = ["health", "docs", "operator"].contains(&service.name);
        own || (!proxy && !plain_upstreams::replaces(config, service.name))
    };
    let mounts = services.iter().filter(shown).map(|service| Mount { service, seat: Seat::Here(nowhere()) }).collect();
    Plan::compile(mounts, compiled, &metrics)
}

/// Reads the file again when it changes or the process gets SIGHUP. What is wrong with it is logged, and
/// the doors stay as they are.
pub(crate) async fn keep_current(config: Config, factory: DoorFactory, renewal: Renewal, told: Arc<Notify>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let watch = Duration::from_millis(config.gateway.watch_ms);
    let mut seen = changed(&config).await;
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(watch), if !watch.is_zero() => false,
        };
        let now = changed(&config).await;
        if !asked && now == seen {
            continue;
        }
        seen = now;
        match reload(&config, &factory, &renewal).await {
            Ok(routes) => {
                told.notify_one();
                tracing::info!(gateway.routes = routes, "the gateway's file was read again");
            }
            Err(error) => tracing::error!(error = %error, "the gateway's file was changed, and is not used"),
        }
    }
}

async fn reload(config: &Config, factory: &DoorFactory, renewal: &Renewal) -> Result<usize> {
    let compiled = Arc::new(compile(config, &factory.lasting)?);
    // A mistake shows before any core learns of it.
    let routes = factory.plan_of(compiled.clone())?.len();
    compiled.begin(&factory.lasting)?;
    factory.compiled.store(compiled);
    renewal.renew().await?;
    Ok(routes)
}

/// Returns what tells one state of the file from another.
async fn changed(config: &Config) -> Option<(SystemTime, u64)> {
    let path = config.gateway.path()?;
    let about = tokio::fs::metadata(&path).await.ok()?;
    Some((about.modified().ok()?, about.len()))
}
