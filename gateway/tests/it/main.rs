//! The door over a service that says what it was told, with a list of tokens for an identity; one
//! file per concern, found by itself. What needs a database is tested where there is one.

automod::dir!("tests/it");

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing};
use gateway::{
    Authenticate, Compiled, Core, Declared, Door, DoorConfig, DoorParts, Entry, Gate, Lasting, LastingParts, Metrics,
    Mount, OperatorToken, Plan, Seat, Source, TokenCache, TokenCacheConfig, TrustedProxies, Verified,
};
use kernel::{Actor, Clock, Error, PermissionSet, TenantId, Timestamp, UserId};
use serde_json::{Value, json};
use service::{Access, AllOn, Backend, Features, Local, Operation, Service};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use web::{ClientAddress, ContextKey, CredentialKind, PeerAddress, Principal, Problem};

const START: Timestamp = Timestamp(1_000_000_000_000_000);
const OPERATOR: &str = "the-operator-token";

/// Returns a member of a tenant of its own.
fn member(credential: &str) -> Principal {
    Principal {
        tenant: TenantId::new(),
        actor: Actor::User(UserId::new()),
        role: "staff".into(),
        permissions: PermissionSet::new(["inventory.items.read"]),
        credential: credential.into(),
        kind: CredentialKind::ApiToken,
        elevated: None,
    }
}

/// Knows tokens by heart, and counts how often it was asked.
struct Tokens {
    until: Timestamp,
    known: Mutex<HashMap<String, Principal>>,
    asked: AtomicUsize,
    /// Where a check waits, having read; for races.
    hold: Mutex<Option<(Arc<Notify>, Arc<Notify>)>>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self::until(START.plus(Duration::from_secs(3_600)))
    }
}

impl Tokens {
    fn until(until: Timestamp) -> Self {
        Self { until, known: Mutex::default(), asked: AtomicUsize::new(0), hold: Mutex::default() }
    }

    fn tenant(&self, token: &str) -> TenantId {
        self.known.lock().expect("not poisoned")[token].tenant
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn add(&self, token: &str, principal: &Principal) {
        self.known.lock().expect("not poisoned").insert(token.to_owned(), principal.clone());
    }

    fn remove(&self, token: &str) {
        self.known.lock().expect("not poisoned").remove(token);
    }
}

impl Authenticate for Tokens {
    fn bearer<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = kernel::Result<Verified>> + Send + 'a>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let found = self.known.lock().expect("not poisoned").get(token).cloned();
            let hold = self.hold.lock().expect("not poisoned").take();
            if let Some((read, go_on)) = hold {
                read.notify_one();
                go_on.notified().await;
            }
            let principal = found.ok_or_else(|| Error::unauthenticated("request.unauthenticated", "unknown"))?;
            Ok(Verified { principal: Arc::new(principal), until: self.until })
        })
    }
}

/// A door with its tokens.
struct House {
    door: Door,
    tokens: Arc<Tokens>,
    cache: Arc<TokenCache>,
    clock: Clock,
}

/// Says what the door has found out.
async fn told(request: Request) -> Response {
    let open = request.uri().path() == "/public";
    let principal = request.extensions().get::<Principal>();
    if principal.is_none() && !open && request.extensions().get::<web::Operator>().is_none() {
        return Problem::from(Error::unauthenticated("request.unauthenticated", "nobody")).into_response();
    }
    if request.uri().path() == "/refuses" {
        return Problem::from(Error::unauthenticated("probe.wrong_password", "wrong password")).into_response();
    }
    let client = request.extensions().get::<ClientAddress>().map(|client| client.0.to_string());
    let authorization = request.headers().contains_key("authorization");
    let credential = principal.map(|principal| principal.credential.to_string());
    Json(json!({ "client": client, "credential": credential, "authorization": authorization })).into_response()
}

/// Where a door of a test stands.
struct Stand {
    service: Service,
    router: Router,
    entry: Entry,
    lasting: Lasting,
    declared: String,
    runtime: Handle,
    clock: Clock,
    metrics: Arc<Metrics>,
    features: Arc<dyn Features>,
    config: DoorConfig,
    /// Where the service is, if not behind this door.
    elsewhere: Option<(String, ContextKey)>,
}

impl Stand {
    fn new(service: Service, router: Router, entry: Entry, clock: &Clock, metrics: Metrics) -> Self {
        Self::of(service, router, entry, clock, metrics, (&Declared::default(), None))
    }

    /// Returns a stand with the lasting state that this file and this Redis ask for.
    fn of(
        service: Service,
        router: Router,
        entry: Entry,
        clock: &Clock,
        mut metrics: Metrics,
        (declared, redis_url): (&Declared, Option<&str>),
    ) -> Self {
        let runtime = Handle::current();
        let parts = LastingParts {
            runtime: runtime.clone(),
            clock: clock.clone(),
            redis_url,
            limiter: &declared.limiter,
            cache: &declared.cache,
            ledger: None,
        };
        let lasting = Lasting::new(parts, metrics.registry()).expect("the state");
        let (declared, clock, metrics) = (String::new(), clock.clone(), Arc::new(metrics));
        Self {
            service,
            router,
            entry,
            lasting,
            declared,
            runtime,
            clock,
            metrics,
            features: Arc::new(AllOn),
            config: DoorConfig::default(),
            elsewhere: None,
        }
    }

    /// Returns a door on this core.
    fn door(&self, core: &Rc<Core>) -> kernel::Result<Door> {
        let source = Source::new("gateway.toml", &self.declared);
        let compiled = Compiled::new(&Declared::parse(&source)?, &source, &self.lasting)?;
        compiled.begin(&self.lasting)?;
        let here = || Seat::Here(Backend::Local(Local::new(self.router.clone(), self.runtime.clone())));
        let seat = match &self.elsewhere {
            Some((url, key)) => Seat::There(self.lasting.service(self.service.name, url)?, key.clone()),
            None => here(),
        };
        let mounts = vec![Mount { service: &self.service, seat }];
        let plan = Plan::compile(mounts, Arc::new(compiled), &self.metrics)?;
        let parts = DoorParts {
            connections: web::Connections::default(),
            entry: self.entry.clone(),
            operator: OperatorToken::new(OPERATOR),
            origin: gateway::PublicOrigin::default(),
            trusted_proxies: TrustedProxies::parse(&["10.0.0.0/8"])?,
            runtime: self.runtime.clone(),
            features: self.features.clone(),
            clock: self.clock.clone(),
            config: self.config,
            lasting: self.lasting.clone(),
            working: Arc::default(),
        };
        Ok(Door::new(plan, parts, core.clone(), &self.metrics))
    }
}

fn door(entry: Entry, clock: &Clock, metrics: Metrics) -> Door {
    let never = || async { web::Result::<()>::Ok(()) };
    let service = Service::new("probe", "Says what it was told").routes([
        Operation::get("/signed-in", "probe_signed_in", never),
        Operation::get("/refuses", "probe_refuses", never),
        Operation::get("/public", "probe_public", never).access(Access::Public),
        Operation::get("/operator", "probe_operator", never).access(Access::Operator),
    ]);
    let router = Router::new().fallback(routing::any(told));
    let stand = Stand::new(service, router, entry, clock, metrics);
    stand.door(&Rc::new(Core::new(1))).expect("a door")
}

impl House {
    fn new() -> Self {
        let (metrics, clock) = (Metrics::default(), Clock::manual(START));
        let cache = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
        let tokens = Arc::new(Tokens::default());
        let gate = Gate { cache: cache.clone(), authenticate: tokens.clone() };
        Self { door: door(Entry::Public(gate), &clock, metrics), tokens, cache, clock }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        ask(&self.door, "203.0.113.9", path, headers).await
    }

    /// Returns the status that a token gets.
    async fn status(&self, token: &str) -> u16 {
        self.get("/signed-in", &[("authorization", &format!("Bearer {token}"))]).await.status().as_u16()
    }
}

async fn ask(door: &Door, peer: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    let peer = SocketAddr::new(peer.parse().expect("an address"), 4_711);
    request.extensions_mut().insert(PeerAddress(peer));
    door.handle(request).await
}

async fn told_by(response: Response) -> Value {
    assert_eq!(response.status(), 200);
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}
