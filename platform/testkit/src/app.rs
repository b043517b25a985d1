//! The real door over real services, in memory, over a fresh database. Not for sockets and not for
//! several processes.

use std::collections::HashMap;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gateway::{
    Authenticate, Door, DoorConfig, DoorParts, Entry, Gate, Metrics, Mount, OperatorToken, Plan, TokenCache,
    TokenCacheConfig, TrustedProxies, Verified,
};
use http::{Method, StatusCode};
use identity::{Authenticator, Courier, Identity, Letter, Member, NewMember, RolePermissions, Settings};
use kernel::{Actor, Clock, Ctx, CtxParts, PermissionSet, RequestId, TenantId, Timestamp, UserId};
use serde_json::Value;
use service::{App, Backend, Local, Role, Service};
use store::{Engine, Purpose, Store, Vault, Walls};
use tokio::runtime::Handle;
use web::{CredentialKind, Principal};

use crate::database::Database;
use crate::request::TestRequest;

/// The operator token of every test application.
const OPERATOR: &str = "operator-token-of-the-tests";

/// The master key of every test application.
const MASTER_KEY: [u8; 32] = [7; 32];
/// The proxy that every test application trusts.
const TRUSTED_PROXY: &str = "192.0.2.254";

/// A tenant with an administrator, staff and a viewer, and their bearer tokens.
#[derive(Clone, Debug)]
pub struct TestTenant {
    /// The tenant.
    pub id: TenantId,
    /// Its short name.
    pub slug: String,
    /// Its administrator.
    pub admin: UserId,
    /// The administrator's token.
    pub admin_token: String,
    /// A staff member's token.
    pub staff_token: String,
    /// A viewer's token.
    pub viewer_token: String,
}

/// An application under test.
pub struct TestApp {
    door: Door,
    store: Store,
    database: Database,
    clock: Clock,
    permissions: Vec<&'static str>,
    document: Value,
    minted: Minted,
    tokens: Arc<TokenCache>,
    identity: Identity,
    letters: Letters,
    templates: matchit::Router<&'static str>,
    names: AtomicU64,
}

/// Tokens with any set of permissions, for trying one permission at a time.
#[derive(Clone, Default)]
struct Minted(Arc<Mutex<HashMap<String, Principal>>>);

/// The letters of a test, kept.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<Vec<Letter>>>);

impl Courier for Letters {
    fn send<'a>(&'a self, letter: &'a Letter) -> Pin<Box<dyn Future<Output = kernel::Result<()>> + Send + 'a>> {
        self.0.lock().expect("not poisoned").push(letter.clone());
        Box::pin(async { Ok(()) })
    }
}

struct Bearer {
    minted: Minted,
    real: Authenticator,
}

impl Authenticate for Bearer {
    fn bearer<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = kernel::Result<Verified>> + Send + 'a>> {
        let minted = self.minted.0.lock().expect("not poisoned").get(token).cloned();
        Box::pin(async move {
            let (principal, until) = match minted {
                Some(principal) => (principal, Timestamp(i64::MAX)),
                None => {
                    let found = self.real.bearer(token).await?;
                    (found.principal, found.until)
                }
            };
            Ok(Verified { principal: Arc::new(principal), until })
        })
    }
}

/// Returns the settings of tests: the cheapest password hash that the settings allow.
fn cheap() -> Settings {
    Settings { password_passes: 1, ..Settings::default() }
}

impl TestApp {
    /// Returns these services on a fresh SQLite database.
    pub async fn sqlite(services: Vec<Service>) -> Self {
        Self::start(Engine::Sqlite, services, Walls::default()).await
    }

    /// Returns these services on a fresh database of this engine, behind these walls.
    pub async fn start(engine: Engine, services: Vec<Service>, walls: Walls) -> Self {
        let mut database = Database::new(engine).await;
        database.config.walls = walls;
        Self::over(database, services).await
    }

    /// Returns these services over a database; the identity service is added where it is missing.
    pub async fn over(database: Database, services: Vec<Service>) -> Self {
        let identity = Identity::new(cheap()).expect("the settings are sound");
        Self::with(database, services, identity).await
    }

    /// Returns these services over a database, with a state of the identity service that the caller
    /// has made, for its settings.
    pub async fn with(database: Database, mut services: Vec<Service>, identity: Identity) -> Self {
        if !services.iter().any(|service| service.name == "identity") {
            services.insert(0, identity::service(identity.clone()));
        }
        if !services.iter().any(|service| service.name == "events") {
            services.push(service::event_log(&services));
        }
        let clock = Clock::manual(Timestamp::parse("2026-11-21T08:00:00Z").expect("a time"));
        store::register_constraints(services.iter().flat_map(|service| service.constraints.clone()).collect());
        let migrations: Vec<_> = services.iter().map(|service| service.migrations).collect();
        store::migrate(&database.config, &migrations, &clock).await.expect("the schema is made");
        let store = Store::open(database.config.clone(), clock.clone()).await.expect("the store opens");
        let letters = Letters::default();
        let opened = identity.open(&store, Vault::new(&MASTER_KEY), Arc::new(letters.clone())).await;
        opened.expect("the identity service opens");
        let minted = Minted::default();
        let real = Authenticator::new(identity.clone(), store.clone(), RolePermissions::of(&services));
        let (metrics, app) = (Metrics::default(), App { store: store.clone() });
        let tokens = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
        let told = tokens.clone();
        let heard = store.listen(move |events| {
            for event in events {
                let revoked = identity::revocation_of(event.tenant, &event.kind, &event.subject);
                revoked.iter().for_each(|revocation| told.revoke(revocation));
            }
        });
        heard.expect("nobody listens yet");
        let authenticate = Arc::new(Bearer { minted: minted.clone(), real });
        let entry = Entry::Public(Gate { cache: tokens.clone(), authenticate });
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
            Mount { service, backend: Backend::Local(Local::new(router, Handle::current())) }
        };
        let plan = Plan::compile(services.iter().map(mount).collect(), &metrics).expect("the routes do not clash");
        let parts = DoorParts {
            entry,
            operator: OperatorToken::new(OPERATOR),
            trusted_proxies: TrustedProxies::parse(&[TRUSTED_PROXY]).expect("an address"),
            runtime: Handle::current(),
            clock: clock.clone(),
            config: DoorConfig::default(),
            working: Arc::default(),
        };
        let door = Door::new(plan, parts, &metrics);
        let names = AtomicU64::new(0);
        Self {
            door,
            store,
            database,
            clock,
            permissions,
            document,
            minted,
            tokens,
            identity,
            letters,
            templates,
            names,
        }
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
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

    /// Returns the letters that were sent to an address, as far as they have left by now.
    pub fn letters_to(&self, address: &str) -> Vec<Letter> {
        let letters = self.letters.0.lock().expect("not poisoned");
        letters.iter().filter(|letter| letter.to == address).cloned().collect()
    }

    /// Waits for the newest letter to an address, and returns the code in it.
    pub async fn code_for(&self, address: &str) -> String {
        loop {
            let letters = self.letters_to(address);
            let code =
                letters.last().and_then(|letter| letter.text.split_once("?code=").map(|(_, rest)| rest.to_owned()));
            if let Some(rest) = code {
                return rest.split_whitespace().next().unwrap_or_default().to_owned();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Returns the door's cache of checked tokens.
    pub fn token_cache(&self) -> &Arc<TokenCache> {
        &self.tokens
    }

    /// Returns the OpenAPI document of the services.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Returns the operator token.
    pub fn operator_token(&self) -> &'static str {
        OPERATOR
    }

    /// Creates a tenant with three people.
    pub async fn tenant(&self, name: &str) -> TestTenant {
        let slug = format!("{name}-{}", self.names.fetch_add(1, Ordering::Relaxed));
        let system = self.store.system(Purpose::Bootstrap).await.expect("a transaction");
        let tenant = system.create_tenant(&slug, name).await.expect("a tenant");
        system.commit().await.expect("kept");
        let admin = self.member(tenant.id, Role::Admin).await;
        let (staff, viewer) = (self.member(tenant.id, Role::Staff).await, self.member(tenant.id, Role::Viewer).await);
        TestTenant {
            id: tenant.id,
            slug,
            admin: admin.user,
            admin_token: self.issue(admin).await,
            staff_token: self.issue(staff).await,
            viewer_token: self.issue(viewer).await,
        }
    }

    /// Adds a person to a tenant.
    pub async fn member(&self, tenant: TenantId, role: Role) -> Member {
        let new = NewMember { name: role.name(), ..NewMember::default() };
        identity::add_member(&self.store, tenant, &new, role).await.expect("a member")
    }

    /// Gives a member a token.
    pub async fn issue(&self, member: Member) -> String {
        identity::issue_token(&self.store, member, "test").await.expect("a token")
    }

    /// Returns the tenant's administrator with every permission, to be changed and minted.
    pub fn principal(&self, tenant: &TestTenant) -> Principal {
        Principal {
            tenant: tenant.id,
            actor: Actor::User(tenant.admin),
            role: "admin".into(),
            permissions: PermissionSet::new(self.permissions.iter().copied()),
            credential: format!("credential-{}", self.names.fetch_add(1, Ordering::Relaxed)).into(),
            kind: CredentialKind::Session,
            elevated: None,
        }
    }

    /// Mints a token of this caller.
    pub fn mint(&self, principal: Principal) -> String {
        let token = format!("minted-{}", self.names.fetch_add(1, Ordering::Relaxed));
        self.minted.0.lock().expect("not poisoned").insert(token.clone(), principal);
        token
    }

    /// Mints a token of the tenant with every permission but this one.
    pub fn token_without(&self, tenant: &TestTenant, permission: &str) -> String {
        let permissions = self.permissions.iter().copied().filter(|known| *known != permission);
        self.mint(Principal { permissions: PermissionSet::new(permissions), ..self.principal(tenant) })
    }

    /// Mints a token of a superadmin inside the tenant.
    pub fn superadmin(&self, tenant: &TestTenant) -> String {
        self.mint(Principal {
            actor: Actor::Superadmin(tenant.admin),
            role: "superadmin".into(),
            elevated: Some("a test".into()),
            ..self.principal(tenant)
        })
    }

    /// Signs the tenant's administrator in, and gives the access token.
    pub async fn session(&self, tenant: &TestTenant) -> String {
        let made = identity::create_sign_in_code(&self.store, &tenant.slug).await.expect("a code");
        let body = serde_json::json!({ "code": made.code });
        let signed_in = self.post("/api/auth/login").json(&body).send().await.expect(200).json();
        signed_in["accessToken"].as_str().expect("a token").to_owned()
    }

    /// Mints an API token of the tenant with every permission.
    pub fn api_token(&self, tenant: &TestTenant) -> String {
        self.mint(Principal { kind: CredentialKind::ApiToken, ..self.principal(tenant) })
    }

    /// Returns a context of the tenant's administrator, for calling functions without a request.
    pub fn context(&self, tenant: &TestTenant) -> Ctx {
        let request_id = RequestId::create();
        Ctx::new(CtxParts {
            tenant: tenant.id,
            actor: Actor::User(tenant.admin),
            permissions: PermissionSet::new(self.permissions.iter().copied()),
            correlation_id: request_id.clone(),
            request_id,
            idempotency: None,
            reason: None,
        })
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

    /// Returns everything that the tenant has; equal twice means that nothing changed.
    pub async fn digest(&self, tenant: &TestTenant) -> Vec<String> {
        crate::digest::digest(&self.database, tenant.id).await
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
