//! The real door over real services, in memory, over a fresh database. Not for sockets and not for
//! several processes.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use events::{Dispatcher, Hub};
use gateway::{
    Compiled, Declared, DoorConfig, DoorParts, Entry, Gate, Lasting, LastingParts, Metrics, OperatorToken, Source,
    TokenCache, TokenCacheConfig, TrustedProxies,
};
use http::{Method, StatusCode};
use identity::{Authenticator, Identity, RolePermissions, Settings};
use kernel::{Clock, Timestamp};
use serde_json::Value;
use service::{App, Backend, Live, Local, Peers, Service, features_of};
use store::{Store, Vault, Walls};
use tasks::{Engine, EngineConfig};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use web::{Authenticate, Connections};

use crate::away::{Away, Seats};
use crate::database::Database;
use crate::door::AtDoor;
use crate::people::{Bearer, Letters, Minted, TestTenant};
use crate::request::TestRequest;

/// The operator token of every test application.
const OPERATOR: &str = "operator-token-of-the-tests";

/// The master key of every test application.
const MASTER_KEY: [u8; 32] = [7; 32];
/// The proxy that every test application trusts.
const TRUSTED_PROXY: &str = "192.0.2.254";

/// An application under test.
pub struct TestApp {
    door: AtDoor,
    away: Option<Away>,
    metrics: Arc<Metrics>,
    pub(crate) store: Store,
    database: Database,
    clock: Clock,
    pub(crate) permissions: Vec<&'static str>,
    document: Value,
    pub(crate) minted: Minted,
    tokens: Arc<TokenCache>,
    connections: Connections,
    dispatcher: Dispatcher,
    engine: Engine,
    identity: Identity,
    pub(crate) letters: Letters,
    templates: matchit::Router<&'static str>,
    pub(crate) names: AtomicU64,
    /// Ends with the application.
    _background: JoinSet<()>,
}

impl TestApp {
    /// Returns these services on a fresh SQLite database.
    pub async fn sqlite(services: Vec<Service>) -> Self {
        Self::start(store::Engine::Sqlite, services, Walls::default()).await
    }

    /// Returns these services on a fresh database of this engine, behind these walls.
    pub async fn start(engine: store::Engine, services: Vec<Service>, walls: Walls) -> Self {
        let mut database = Database::new(engine).await;
        database.config.walls = walls;
        Self::over(database, services).await
    }

    /// Returns these services over a database; the identity service is added where it is missing.
    pub async fn over(database: Database, services: Vec<Service>) -> Self {
        let identity = Identity::new(Settings::default()).expect("the settings are sound");
        Self::with(database, services, identity).await
    }

    /// Returns these services over a database, with a state of the identity service that the caller
    /// has made, for its settings.
    pub async fn with(database: Database, services: Vec<Service>, identity: Identity) -> Self {
        Self::made(database, services, identity, false).await
    }

    /// Returns these services in this process and, by the same data, behind a second door in another place: a
    /// server of their own at a real port, which is told the caller in a signed header.
    pub async fn both_ways(database: Database, services: Vec<Service>, identity: Identity) -> Self {
        Self::made(database, services, identity, true).await
    }

    async fn made(database: Database, mut services: Vec<Service>, identity: Identity, both_ways: bool) -> Self {
        if !services.iter().any(|service| service.name == "identity") {
            services.insert(0, identity::service(identity.clone()));
        }
        if !services.iter().any(|service| service.name == "events") {
            services.push(service::event_log(&services));
        }
        let clock = Clock::manual(Timestamp::parse("2026-11-21T08:00:00Z").expect("a time"));
        store::register_constraints(services.iter().flat_map(|service| service.constraints.clone()).collect());
        if !services.iter().any(|service| service.name == "tasks") {
            services.push(service::task_service());
        }
        let migrations: Vec<_> = services.iter().map(|service| service.migrations).collect();
        store::migrate(&database.config, &migrations, &clock).await.expect("the schema is made");
        let store = Store::open(database.config.clone(), clock.clone()).await.expect("the store opens");
        let letters = Letters::default();
        let opened = identity.open(&store, Vault::new(&MASTER_KEY), Arc::new(letters.clone())).await;
        opened.expect("the identity service opens");
        let minted = Minted::default();
        let real = Authenticator::new(identity.clone(), store.clone(), RolePermissions::of(&services));
        let (mut metrics, connections) = (Metrics::default(), Connections::default());
        let tokens = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
        let (told, closed) = (tokens.clone(), connections.clone());
        store.listen(move |events| {
            for event in events {
                let revoked = identity::revocation_of(event.tenant, &event.kind, &event.subject);
                if let Some(revocation) = &revoked {
                    told.revoke(revocation);
                    if !identity::only_gives(&event.kind) {
                        closed.revoke(revocation);
                    }
                }
            }
        });
        let authenticate: Arc<dyn Authenticate> = Arc::new(Bearer { minted: minted.clone(), real });
        let hub = Hub::start(&store).await.expect("the log can be read");
        let live = Live { hub, connections: connections.clone(), authenticate: authenticate.clone() };
        let features = features_of(&services);
        let mut background = JoinSet::new();
        // Nobody else turns switches in a test, so there is nothing to look for.
        background.spawn(features.open(&store, None).await.expect("the switches can be read"));
        let app = App { store: store.clone(), live, features, peers: Peers::default() };
        let entry = Entry::Public(Gate { cache: tokens.clone(), authenticate });
        let subscriptions = services.iter().flat_map(|service| service.subscriptions.iter().cloned()).collect();
        let dispatcher = Dispatcher::new(store.clone(), subscriptions);
        let engine = Engine::new(
            store.clone(),
            services.iter().flat_map(|service| service.jobs.iter().cloned()).collect(),
            services.iter().flat_map(|service| service.schedules.iter().cloned()).collect(),
            services.iter().flat_map(|service| service.sagas.iter().cloned()).collect(),
            EngineConfig::default(),
        );
        let engine = engine.expect("no two jobs have one name");
        let mut templates = matchit::Router::new();
        for operation in services.iter().flat_map(|service| &service.operations) {
            // Several methods share a template: the first one names it.
            let _ = templates.insert(operation.path, operation.path);
        }
        let document = service::document(&services);
        let permissions =
            services.iter().flat_map(|service| service.permissions.iter().map(|known| known.name)).collect();
        let mount = |service| {
            let router = Service::router(service, &app);
            (service, Backend::Local(Local::new(router, Handle::current())))
        };
        let mounts: Vec<(&Service, Backend)> = services.iter().map(mount).collect();
        app.peers.fill(mounts.iter().map(|(service, backend)| (service.name, backend.clone())));
        let lasting = LastingParts {
            runtime: Handle::current(),
            clock: clock.clone(),
            redis_url: None,
            limiter: &Default::default(),
            cache: &Default::default(),
            ledger: None,
        };
        let lasting = Lasting::new(lasting, metrics.registry()).expect("nothing is declared");
        let declared = Compiled::new(&Declared::default(), &Source::new("gateway.toml", ""), &lasting);
        let declared = Arc::new(declared.expect("nothing is declared"));
        let backends: Vec<Backend> = mounts.into_iter().map(|(_, backend)| backend).collect();
        let parts = DoorParts {
            entry,
            operator: OperatorToken::new(OPERATOR),
            origin: gateway::PublicOrigin::default(),
            trusted_proxies: TrustedProxies::parse(&[TRUSTED_PROXY]).expect("an address"),
            runtime: Handle::current(),
            connections: connections.clone(),
            features: app.features.clone(),
            clock: clock.clone(),
            config: DoorConfig::default(),
            lasting,
            working: Arc::default(),
        };
        let services = Arc::new(services);
        let metrics = Arc::new(metrics);
        let house = Seats { services, backends, declared, parts, metrics: metrics.clone() };
        let away = both_ways.then(|| Away::open(&house));
        let door = AtDoor::open(move |core| house.door(&core, None).expect("the routes do not clash"));
        let names = AtomicU64::new(0);
        Self {
            door,
            away,
            metrics,
            store,
            database,
            clock,
            permissions,
            document,
            minted,
            tokens,
            connections,
            dispatcher,
            engine,
            identity,
            letters,
            templates,
            names,
            _background: background,
        }
    }

    pub(crate) fn door(&self) -> &AtDoor {
        &self.door
    }

    /// Returns the door behind which the services are elsewhere.
    pub(crate) fn away(&self) -> &AtDoor {
        self.elsewhere().door()
    }

    fn elsewhere(&self) -> &Away {
        self.away.as_ref().expect("the application was made both ways")
    }

    /// Returns what a door has counted: this process's, or the one behind which the services are elsewhere.
    pub fn metrics(&self, away: bool) -> String {
        let metrics = if away { self.elsewhere().metrics() } else { &*self.metrics };
        metrics.text().expect("the metrics can be written")
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the clock; it stands until it is moved.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the state of the identity service.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the door's cache of checked tokens.
    pub fn token_cache(&self) -> &Arc<TokenCache> {
        &self.tokens
    }

    /// Returns the connections that outlive their request.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Returns the OpenAPI document of the services.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Returns the operator token.
    pub fn operator_token(&self) -> &'static str {
        OPERATOR
    }

    /// Starts a request.
    pub fn request(&self, method: Method, path: &str) -> TestRequest<'_> {
        TestRequest::new(self, method, path)
    }

    /// Starts a GET.
    pub fn get(&self, path: &str) -> TestRequest<'_> {
        self.request(Method::GET, path)
    }

    /// Starts a POST.
    pub fn post(&self, path: &str) -> TestRequest<'_> {
        self.request(Method::POST, path)
    }

    /// Gives waiting events their positions, as a running server does all the time.
    pub async fn relay(&self) {
        store::assign_positions(&self.store).await.expect("positions");
    }

    /// Does what a running server does beside requests until nothing is left that is due: gives events
    /// their positions, hands them to subscriptions and works on tasks.
    pub async fn settle(&self) {
        loop {
            self.relay().await;
            let applied = self.dispatcher.run_until_idle().await.expect("the log can be read");
            let worked = self.engine.run_until_idle().await.expect("the queue can be read");
            if applied == 0 && worked == 0 {
                return;
            }
        }
    }

    /// Returns the dispatcher of the services' subscriptions.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Returns the engine of the services' tasks.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns everything that the tenant has; equal twice means that nothing changed.
    pub async fn digest(&self, tenant: &TestTenant) -> Vec<String> {
        crate::digest::digest(&self.database, tenant.id).await
    }

    /// Returns everything that the database has.
    pub async fn dump(&self) -> Vec<String> {
        crate::digest::dump(&self.database).await
    }

    /// Changes the database behind the store's back, as an accident would.
    pub async fn execute(&self, sql: &str) {
        crate::database::run(&self.database.config.url, sql).await;
    }

    /// Notes which route answered how, for the contract's tally.
    #[expect(clippy::disallowed_methods, reason = "the test runner says where the tally is kept")]
    pub(crate) fn record_hit(&self, method: &Method, path: &str, status: StatusCode) {
        let Ok(folder) = std::env::var("PORTICO_CONTRACT_HITS") else { return };
        let Ok(matched) = self.templates.at(path) else { return };
        let file = std::path::Path::new(&folder).join(std::process::id().to_string());
        let _ = std::fs::create_dir_all(&folder);
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(file) {
            let _ = writeln!(file, "{method} {} {}", matched.value, status.as_u16());
        }
    }
}
