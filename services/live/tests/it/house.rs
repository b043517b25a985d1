//! The service behind a real listener on a free port, with a list of tokens for an identity: for
//! what needs a socket. Everything else goes through the door of `TestApp`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use events::Hub;
use gateway::{
    Door, DoorConfig, DoorParts, Drain, Entry, Gate, Metrics, Mount, OperatorToken, Plan, PublicOrigin, Server,
    ServerConfig, TokenCache, TokenCacheConfig, TrustedProxies,
};
use kernel::{Actor, Answer, Clock, Error, Id, PermissionSet, TenantId, Timestamp, UserId};
use serde_json::json;
use service::{App, Audience, Backend, EventType, Live, Local, Service};
use store::{Engine, Event, Purpose, Store};
use testkit::Database;
use tokio::runtime::Handle;
use web::{Authenticate, Connections, CredentialKind, Principal, Verified};

use crate::{ADJUSTED, Thing};

/// Knows a token of a staff member and one of a viewer.
struct Tokens(HashMap<&'static str, Principal>);

impl Authenticate for Tokens {
    fn bearer<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = kernel::Result<Verified>> + Send + 'a>> {
        Box::pin(async move {
            let known = self.0.get(token).cloned();
            let principal = known.ok_or_else(|| Error::unauthenticated("request.unauthenticated", "unknown"))?;
            Ok(Verified { principal: Arc::new(principal), until: Timestamp(i64::MAX) })
        })
    }
}

/// A listening server.
pub struct House {
    pub address: SocketAddr,
    pub connections: Connections,
    pub tenant: TenantId,
    pub store: Store,
    server: Server,
    _database: Database,
}

impl House {
    /// Starts to listen, on two cores, with one server of sockets between them.
    pub async fn open() -> Self {
        let (database, clock) = (Database::new(Engine::Sqlite).await, Clock::system());
        store::migrate(&database.config, &[], &clock).await.expect("the schema is made");
        let store = Store::open(database.config.clone(), clock.clone()).await.expect("the store opens");
        let system = store.system(Purpose::Bootstrap).await.expect("a transaction");
        let tenant = system.create_tenant("farm", "Farm").await.expect("a tenant").id;
        system.commit().await.expect("kept");
        let token = |name: &'static str, permission: &'static str| {
            let principal = Principal {
                tenant,
                actor: Actor::User(UserId::new()),
                role: name.into(),
                permissions: PermissionSet::new([permission]),
                credential: name.into(),
                kind: CredentialKind::Session,
                elevated: None,
            };
            (name, principal)
        };
        let tokens = [token("staff", "events.staff.read"), token("viewer", "events.members.read")];
        let authenticate: Arc<dyn Authenticate> = Arc::new(Tokens(tokens.into()));
        let connections = Connections::default();
        let hub = Hub::start(&store).await.expect("the log can be read");
        let live = Live { hub, connections: connections.clone(), authenticate: authenticate.clone() };
        let app = App { store: store.clone(), live };
        let kind = EventType { name: ADJUSTED, audience: Audience::Staff, retention_days: None, summary: "a test" };
        let service = live::service(&[Service::new("inventory", "Publishes").events([kind])]);
        let place = Arc::new((service.router(&app), service));
        let cache = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &Metrics::default()));
        let parts = DoorParts {
            entry: Entry::Public(Gate { cache, authenticate }),
            operator: OperatorToken::new("operator"),
            origin: PublicOrigin::default(),
            trusted_proxies: TrustedProxies::parse(&[] as &[&str]).expect("none"),
            runtime: Handle::current(),
            connections: connections.clone(),
            clock,
            config: DoorConfig::default(),
            working: Arc::default(),
        };
        let door = move || {
            let (router, service) = &*place;
            let metrics = Metrics::default();
            let backend = Backend::Local(Local::new(router.clone(), parts.runtime.clone()));
            let plan = Plan::compile(vec![Mount { service, backend }], &metrics)?;
            Ok(Door::new(plan, parts.clone(), &metrics))
        };
        let listen = ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cores: 2,
            header_timeout: Duration::from_secs(10),
        };
        let server = Server::start(&listen, door).expect("it listens");
        Self { address: server.address(), connections, tenant, store, server, _database: database }
    }

    /// Publishes that stock was adjusted.
    pub async fn adjust(&self, amount: i64) {
        let mut ctx = store::system_context(self.tenant, PermissionSet::default());
        let mut writer = self.store.write(&mut ctx).await.expect("a writer");
        let event = Event::about(ADJUSTED, Id::<Thing>::new(), json!({ "quantity": amount }));
        writer.record(event).await.expect("recorded");
        writer.commit(Answer::no_content()).await.expect("kept");
    }

    /// Stops as a process does.
    pub async fn stop(self) {
        self.connections.close();
        self.server.drain(Drain { notice: Duration::ZERO, limit: Duration::from_secs(5) }).await;
    }
}
