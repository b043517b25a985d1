//! Wires a process: store, services, door, sockets, background work, and their end. Reads top to
//! bottom. Not for what any of them does.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use discovery::Registration;
use events::Hub;
use gateway::{
    BackgroundClient, Core, DoorConfig, DoorParts, Drain, Entry, Gate, Lasting, Metrics, OperatorToken, PublicOrigin,
    ServerConfig, Tls, TrustedProxies,
};
use identity::{Authenticator, FirstStart, RolePermissions};
use kernel::{Clock, Error, Result};
use notifications::Outside;
use service::{App, Live, Peers, Service, features_of};
use store::{Engine, Store};
use telemetry::Exporter;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use web::{Connections, ContextKey};

use crate::config::Config;
use crate::counts::Counts;
use crate::data_folder::{DataFolder, Holder, Lock};
use crate::declared_sagas::{self, Calls};
use crate::doors::{self, DoorFactory, Place, Way};
use crate::health::Readiness;
use crate::mail::{People, Post};
use crate::people::{self, Bearer};
use crate::services::States;
use crate::work::Work;
use crate::{certificates, docs, health, kept_answers, operator, plain_upstreams, services, upstream_documents, work};

/// How often a process looks for switches that others turned: they are to hold within a second.
const LOOK_AT_SWITCHES: Duration = Duration::from_millis(200);

/// A running process.
pub struct Running {
    server: gateway::Server,
    store: Store,
    connections: Connections,
    readiness: Readiness,
    background: Vec<JoinHandle<()>>,
    work: Work,
    traces: Exporter,
    drain: Drain,
    /// Says elsewhere that this process is there.
    registration: Option<Registration>,
    lasting: Lasting,
    /// What the first start made, if this was one.
    pub first_start: Option<FirstStart>,
    _lock: Lock,
}

/// Which services run here, and whether the gateway does.
struct Roles {
    gateway: bool,
    /// Whether the gateway stands in front of declared upstreams only.
    proxy: bool,
    names: Vec<String>,
}

impl Roles {
    fn read(config: &Config, known: &[Service]) -> Result<Self> {
        let all = config.roles.iter().any(|role| role == "all");
        let names: Vec<String> = if all {
            known.iter().map(|service| service.name.to_owned()).collect()
        } else {
            config.roles.iter().filter(|role| !["gateway", "proxy"].contains(&role.as_str())).cloned().collect()
        };
        // What somebody else's service answers does not run here as well.
        let names: Vec<String> = names.into_iter().filter(|name| !plain_upstreams::replaces(config, name)).collect();
        if let Some(unknown) = names.iter().find(|name| !known.iter().any(|service| service.name == **name)) {
            let list: Vec<&str> = known.iter().map(|service| service.name).collect();
            let message = format!("there is no service {unknown}: roles are all, gateway, proxy, {}", list.join(", "));
            return Err(Error::invalid("config.unknown_role", message));
        }
        let proxy = config.roles.iter().any(|role| role == "proxy");
        Ok(Self { gateway: all || proxy || config.roles.iter().any(|role| role == "gateway"), proxy, names })
    }

    fn runs(&self, service: &Service) -> bool {
        self.names.iter().any(|name| name == service.name)
    }
}

/// Starts everything that the configuration asks for.
pub async fn start(config: &Config) -> Result<Running> {
    let clock = Clock::system();
    let folder = DataFolder::open(&config.data_dir)?;
    let mut lock = folder.lock()?;
    // Before the first start makes a code that nobody would be shown.
    if !config.server.share_port {
        gateway::Server::check_free(config.server.listen)?;
    }
    let tls = config.server.tls.is_on().then(|| Tls::read(&config.server.tls)).transpose()?;
    let operator_token = match config.operator.token.as_str() {
        "" => folder.operator_token()?,
        token => token.to_owned(),
    };

    // The services, and their data.
    let states = States::new(config)?;
    let identity = states.identity.clone();
    let mut all = services::all(&states);
    let calls = Calls::default();
    all.extend(declared_sagas::service(&doors::declared(config)?.0, &calls)?);
    let roles = Roles::read(config, &all)?;
    let key = cluster_key(config, &roles, &all)?;
    store::register_constraints(all.iter().flat_map(|service| service.constraints.iter().copied()).collect());
    let store = open_store(config, &all, &clock).await?;
    let post = Post::new(folder.letters()?, &config.mail.from, &config.mail.smtp_url)?;
    if all.iter().any(|service| service.name == "identity" && roles.runs(service)) {
        identity.open(&store, people::vault(config, &folder)?, Arc::new(post.clone())).await?;
    } else {
        // A gateway asks about tokens, and so does a socket in its first message.
        identity.open_to_verify(&store).await?;
    }
    let types = all.iter().flat_map(|service| service.events.iter().copied());
    states.webhooks.open(people::vault(config, &folder)?, types)?;
    states.inventory.open(people::vault(config, &folder)?)?;
    states.notifications.open(Outside {
        mailer: Arc::new(post.clone()),
        directory: Arc::new(People(store.clone())),
        vault: people::vault(config, &folder)?,
    })?;
    // In every process, whichever of them turns the switches.
    let features = features_of(&all);
    let others = (store.engine() == Engine::Postgres).then_some(LOOK_AT_SWITCHES);
    let following = features.open(&store, others).await?;
    let here: Vec<&Service> = all.iter().filter(|service| roles.runs(service)).collect();
    let work = Work::start(config, &store, &here)?;
    // Last, so that nothing fails after it: its code is shown once. Not of a gateway alone, where nobody signs in.
    let signs_in = !roles.proxy || here.iter().any(|service| service.name == "identity");
    let first_start = if signs_in { identity::first_start(&store).await? } else { None };

    // What every process answers for itself.
    let permissions = RolePermissions::of(&all);
    let (readiness, mut metrics) = (Readiness::default(), Metrics::default());
    let connections = Connections::default();
    let counts = Counts {
        store: store.clone(),
        identity: identity.clone(),
        dispatcher: work.dispatcher(),
        connections: connections.clone(),
    };
    metrics.registry().register_collector(Box::new(counts));
    let lasting = doors::lasting(config, (!roles.proxy).then_some(&store), clock.clone(), &mut metrics)?;
    let compiled = doors::compile(config, &lasting)?;
    compiled.begin(&lasting)?;
    let compiled = Arc::new(ArcSwap::from_pointee(compiled));
    let process = kernel::RequestId::create();
    let traces =
        Exporter::start(&config.telemetry, process.as_str(), clock.clone(), &Handle::current(), metrics.registry())?;
    lasting.trace_with(traces.tracer());
    let metrics = Arc::new(metrics);
    let members = upstream_documents::members(&compiled.load(), &lasting);
    let document = Arc::new(surface::Published::default());
    let here = all.iter().filter(|service| roles.runs(service)).map(|service| service.name).collect();
    let own = [
        health::service_with(here, readiness.clone(), metrics.clone(), members),
        docs::service(document.clone()),
        operator::service(identity.clone(), &all, &work::sinks(config)),
    ];
    let own_from = all.len();
    all.extend(own);
    // What others answer has documents of its own.
    let shown = |(number, service): (usize, &Service)| {
        let plain = plain_upstreams::replaces(config, service.name);
        number >= own_from || (!plain && (roles.runs(service) || !roles.proxy))
    };
    let own_document = service::document(all.iter().enumerate().filter(|it| shown(*it)).map(|(_, service)| service));
    document.set(docs::written(&own_document));

    // The door, one per core.
    let mut background: Vec<JoinHandle<()>> = post.start().into_iter().collect();
    let cache = people::token_cache(config, &store, &metrics);
    background.extend(people::forget(&store, &cache, &connections));
    background.push(tokio::spawn(following));
    let authenticator = Authenticator::new(identity.clone(), store.clone(), permissions);
    let authenticate = lasting.with_issuers(Arc::new(Bearer(authenticator)), &cache);
    let gate = Gate { cache: cache.clone(), authenticate };
    let hub = Hub::start(&store).await?;
    background.push(kept_answers::follow(&store, &hub, &lasting));
    let app = App {
        store: store.clone(),
        live: Live { hub, connections: connections.clone(), authenticate: gate.authenticate.clone() },
        features,
        peers: Peers::default(),
    };
    let entry = match key.clone().filter(|_| !roles.gateway) {
        Some(key) => Entry::Internal(key),
        None => Entry::Public(gate),
    };
    background.push(people::keep(identity, &store, cache, connections.clone()));
    // Where everything is, for the gateway to route to and for the services to call.
    let (mut places, mut peers) = (Vec::new(), Vec::new());
    let way = Way {
        runtime: Handle::current(),
        key: key.clone(),
        clock: clock.clone(),
        timeout: Duration::from_millis(config.server.request_timeout_ms),
    };
    for (number, service) in all.into_iter().enumerate() {
        let place = if number >= own_from || roles.runs(&service) {
            Place::Here(service.router(&app))
        } else if (roles.gateway && !roles.proxy) || config.upstreams.contains_key(service.name) {
            Place::There(doors::upstream(config, &service)?)
        } else {
            continue;
        };
        peers.push((service.name, place.backend(&way)?));
        // Of somebody else's service the door knows the declared routes.
        let plain = plain_upstreams::replaces(config, service.name);
        if (roles.gateway && !plain) || matches!(place, Place::Here(_)) {
            places.push((service, place));
        }
    }
    app.peers.fill(peers);
    let factory = DoorFactory {
        places: Arc::new(places),
        lasting: lasting.clone(),
        compiled: compiled.clone(),
        parts: DoorParts {
            entry,
            operator: OperatorToken::new(&operator_token),
            origin: PublicOrigin::parse(&config.server.public_url)?,
            trusted_proxies: TrustedProxies::parse(&config.server.trusted_proxies)?,
            connections: connections.clone(),
            runtime: Handle::current(),
            features: app.features.clone(),
            clock: clock.clone(),
            config: DoorConfig {
                in_flight: config.server.in_flight,
                timeout: Duration::from_millis(config.server.request_timeout_ms),
            },
            lasting,
            working: Arc::default(),
        },
        way,
        metrics,
    };
    factory.plan()?; // A mistake in the route table shows before a socket opens.
    let listen = ServerConfig {
        listen: config.server.listen,
        cores: config.server.cores,
        header_timeout: Duration::from_millis(config.server.header_timeout_ms),
        limits: config.server.limits.clone(),
        tls: tls.clone(),
    };
    let at_cores = factory.clone();
    let door = move |core: &Rc<Core>| at_cores.door(core);
    let server = match config.server.share_port {
        true => gateway::Server::start_beside(&listen, door)?,
        false => gateway::Server::start(&listen, door)?,
    };
    let (changed, background_client) = (Arc::new(Notify::new()), BackgroundClient::start()?);
    calls.fill(factory.lasting.clone(), background_client.clone());
    background.push(tokio::spawn(upstream_documents::follow(
        compiled.clone(),
        factory.lasting.clone(),
        background_client.clone(),
        document,
        own_document,
        changed.clone(),
    )));
    let registration = compiled.load().register().map(|to| Registration::start(to, &Handle::current())).transpose()?;
    let at_stop = factory.lasting.clone();
    background.extend(tls.map(|tls| certificates::keep_current(tls, config.gateway.watch_ms)).map(tokio::spawn));
    background.push(tokio::spawn(doors::keep_current(config.clone(), factory, server.renewal(), changed)));
    lock.announce(&Holder { pid: std::process::id(), address: Some(server.address()) })?;
    Ok(Running {
        registration,
        lasting: at_stop,
        background,
        work,
        traces,
        server,
        store,
        connections,
        readiness,
        drain: Drain {
            notice: Duration::from_millis(config.server.drain_notice_ms),
            limit: Duration::from_millis(config.server.drain_limit_ms),
        },
        first_start,
        _lock: lock,
    })
}

/// Returns the key of the split form; a mistake in it shows before anything is opened or made.
fn cluster_key(config: &Config, roles: &Roles, all: &[Service]) -> Result<Option<ContextKey>> {
    let elsewhere = |service: &&Service| {
        let plain = plain_upstreams::replaces(config, service.name);
        let known = config.upstreams.contains_key(service.name);
        roles.gateway && !roles.runs(service) && !plain && (known || !roles.proxy)
    };
    let remote: Vec<&Service> = all.iter().filter(elsewhere).collect();
    for service in &remote {
        doors::upstream(config, service)?;
    }
    if config.cluster.secret.is_empty() {
        if roles.gateway && remote.is_empty() {
            return Ok(None);
        }
        let message = "the split form needs cluster.secret, the same in all processes, at least 32 bytes";
        return Err(Error::invalid("config.cluster_secret", message));
    }
    ContextKey::new(config.cluster.secret.as_bytes()).map(Some)
}

/// Brings the schema up to date where that is wanted, and opens the store.
pub(crate) async fn open_store(config: &Config, all: &[Service], clock: &Clock) -> Result<Store> {
    let migrations = services::migrations(all);
    if config.store.migrate_at_start {
        let report = store::migrate(&config.store, &migrations, clock).await?;
        if !report.applied.is_empty() {
            tracing::info!(steps = report.applied.join(" "), "the schema was brought up to date");
        }
    } else {
        let pending = store::pending(&config.store, &migrations).await?;
        if !pending.is_empty() {
            let message = format!("the schema lacks {}: run `portico migrate`", pending.join(", "));
            return Err(Error::conflict("store.schema_older", message));
        }
    }
    Store::open(config.store.clone(), clock.clone()).await
}

impl Running {
    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops in order: say so, stop accepting, end what is open, close the data.
    pub async fn stop(self) {
        self.readiness.stop();
        if let Some(registration) = self.registration {
            registration.stop().await;
        }
        // Streams and sockets never end by themselves; their clients come back elsewhere.
        tokio::time::sleep(self.drain.notice).await;
        self.connections.close();
        self.lasting.sockets().drain();
        self.server.drain(Drain { notice: Duration::ZERO, ..self.drain }).await;
        // Streams that were cut off are settled before the data is closed.
        self.lasting.metering().settled().await;
        self.work.stop().await;
        self.traces.stop().await;
        for task in self.background {
            task.abort();
        }
        self.store.close().await;
    }
}
