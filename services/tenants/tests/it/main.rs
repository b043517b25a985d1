//! The tenants service through the door, on every engine that is there; one file per resource or
//! action, found by itself. Who may do what is also the sweep's business, in the binary's tests.

automod::dir!("tests/it");

use http::Method;
use kernel::{Actor, TenantId, UserId};
use serde_json::{Value, json};
use testkit::{TestApp, TestRequest, TestTenant};
use web::Principal;

const CURRENT: &str = "/api/organizations/current";
const TENANTS: &str = "/api/v1/tenants";

/// What a superadmin's changes say in their header.
const WHY: &str = "ticket 1: asked on the phone";

/// Returns the service on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![tenants::service(vec![])], Default::default()).await);
    }
    apps
}

fn path(id: TenantId) -> String {
    format!("{TENANTS}/{id}")
}

/// Somebody who runs the platform and has entered one of its tenants.
struct Superadmin {
    actor: String,
    token: String,
}

impl Superadmin {
    fn inside(app: &TestApp, tenant: &TestTenant) -> Self {
        let actor = Actor::Superadmin(UserId::new());
        let name = actor.to_string();
        let elevated = Some("ticket 1".into());
        let principal = Principal { actor, role: "superadmin".into(), elevated, ..app.principal(tenant) };
        Self { actor: name, token: app.mint(principal) }
    }

    fn request<'a>(&self, app: &'a TestApp, method: Method, path: &str) -> TestRequest<'a> {
        app.request(method, path).token(&self.token).header("x-audit-reason", WHY)
    }

    fn post<'a>(&self, app: &'a TestApp, path: &str, body: &Value) -> TestRequest<'a> {
        self.request(app, Method::POST, path).json(body)
    }

    async fn suspend(&self, app: &TestApp, id: TenantId) {
        let body = json!({ "reason": "unpaid since March" });
        self.post(app, &format!("{}/suspend", path(id)), &body).send().await.expect(200);
    }
}

/// Returns the tenant's events of this service, as its administrator reads them.
async fn events(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    app.relay().await;
    let page = app.get("/api/events?limit=200").token(&tenant.admin_token).send().await.expect(200).json();
    let items = page["items"].as_array().expect("events").iter().cloned();
    items.filter(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("tenants."))).collect()
}

/// Returns all that the tenant has and what it is, to see whether something changed.
async fn everything(app: &TestApp, tenant: &TestTenant) -> (Vec<String>, Value) {
    let shown = app.get(&path(tenant.id)).token(&app.mint(app.principal(tenant))).send().await.expect(200).json();
    (app.digest(tenant).await, shown)
}
