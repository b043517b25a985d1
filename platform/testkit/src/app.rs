//! The real door over real services, in memory, over a fresh database. Not for sockets and not for
//! several processes.

use std::collections::HashMap;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gateway::{Authenticate, Door, DoorConfig, DoorParts, Entry, Metrics, Mount, OperatorToken, Plan};
use http::{Method, StatusCode};
use identity::{Authenticator, Member, RolePermissions};
use kernel::{Actor, Clock, Ctx, CtxParts, PermissionSet, RequestId, TenantId, Timestamp, UserId};
use serde_json::Value;
use service::{App, Backend, Local, Role, Service};
use store::{Engine, Purpose, Store, Walls};
use tokio::runtime::Handle;
use web::Principal;

use crate::database::Database;
use crate::request::TestRequest;

/// The operator token of every test application.
const OPERATOR: &str = "operator-token-of-the-tests";

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
    templates: matchit::Router<&'static str>,
    names: AtomicU64,
}

/// Tokens with any set of permissions, for trying one permission at a time.
#[derive(Clone, Default)]
struct Minted(Arc<Mutex<HashMap<String, Principal>>>);

struct Bearer {
    minted: Minted,
    real: Authenticator,
}

impl Authenticate for Bearer {
    fn bearer<'a>(&'a self, token: &'a str) -> Pin<Box<dyn Future<Output = kernel::Result<Principal>> + Send + 'a>> {
        let minted = self.minted.0.lock().expect("not poisoned").get(token).cloned();
        match minted {
            Some(principal) => Box::pin(async move { Ok(principal) }),
            None => Box::pin(self.real.bearer(token)),
        }
    }
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
    pub async fn over(database: Database, mut services: Vec<Service>) -> Self {
        if !services.iter().any(|service| service.name == "identity") {
            services.insert(0, identity::service());
        }
        if !services.iter().any(|service| service.name == "events") {
            services.push(service::event_log(&services));
        }
        let clock = Clock::manual(Timestamp::parse("2026-11-21T08:00:00Z").expect("a time"));
        store::register_constraints(services.iter().flat_map(|service| service.constraints.clone()).collect());
        let migrations: Vec<_> = services.iter().map(|service| service.migrations).collect();
        store::migrate(&database.config, &migrations, &clock).await.expect("the schema is made");
        let store = Store::open(database.config.clone(), clock.clone()).await.expect("the store opens");
        let minted = Minted::default();
        let real = Authenticator::new(store.clone(), RolePermissions::of(&services));
        let entry = Entry::Public(Arc::new(Bearer { minted: minted.clone(), real }));
        let (metrics, app) = (Metrics::default(), App { store: store.clone() });
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
            runtime: Handle::current(),
            clock: clock.clone(),
            config: DoorConfig::default(),
            working: Arc::default(),
        };
        let door = Door::new(plan, parts, &metrics);
        let names = AtomicU64::new(0);
        Self { door, store, database, clock, permissions, document, minted, templates, names }
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
        identity::add_member(&self.store, tenant, role.name(), role).await.expect("a member")
    }

    /// Gives a member a token.
    pub async fn issue(&self, member: Member) -> String {
        identity::issue_token(&self.store, member, "test").await.expect("a token")
    }

    /// Mints a token of the tenant with every permission but this one.
    pub fn token_without(&self, tenant: &TestTenant, permission: &str) -> String {
        let permissions = self.permissions.iter().copied().filter(|known| *known != permission);
        let token = format!("minted-{}", self.names.fetch_add(1, Ordering::Relaxed));
        let principal = Principal {
            tenant: tenant.id,
            actor: Actor::User(tenant.admin),
            role: "admin".into(),
            permissions: PermissionSet::new(permissions),
            credential: kernel::Id::<identity::TokenKind>::new().to_string().into(),
        };
        self.minted.0.lock().expect("not poisoned").insert(token.clone(), principal);
        token
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
