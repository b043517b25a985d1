//! The flags service through the door, on every engine that is there; one file per action, found by
//! itself. Who may do what is also the sweep's business, in the binary's tests.

automod::dir!("tests/it");

use axum::extract::{Query, State};
use http::Method;
use kernel::{Answer, TenantId};
use serde::Deserialize;
use serde_json::Value;
use service::{Access, App, Feature, Operation, PermissionType, Role, Service, Shape, declared_features};
use testkit::{TestApp, TestRequest, TestResponse, TestTenant};
use web::Caller;

const FLAGS: &str = "/api/features";
const PLATFORM: &str = "/api/v1/platform/features";

/// What a superadmin's changes say in their header.
const WHY: &str = "ticket 1: the model is wrong";

/// The switch of the barn's door.
const DOOR: Feature = Feature { key: "barn.door", summary: "Opening the barn's door" };
/// The switch of the barn's bell, which anyone may ring.
const BELL: Feature = Feature { key: "barn.bell", summary: "Ringing the barn's bell" };

/// A service whose operations stand behind switches.
fn barn() -> Service {
    let open = async |State(app): State<App>, Caller(ctx): Caller| -> web::Result {
        app.store.read(&ctx).await?.close().await?;
        Ok(Answer::ok(&"open")?.into())
    };
    let ring = async |State(app): State<App>, Query(rung): Query<Rung>| -> web::Result {
        app.features.require(rung.tenant, BELL.key)?;
        Ok(Answer::ok(&"ding")?.into())
    };
    Service::new("barn", "A barn")
        .routes([
            Operation::post("/api/barn/door", "barn_open_door", open)
                .permission("barn.door.open")
                .shape(Shape::Success)
                .feature(DOOR),
            Operation::post("/api/barn/bell", "barn_ring_bell", ring).access(Access::Public).feature(BELL),
        ])
        .permissions([PermissionType { name: "barn.door.open", role: Role::Staff, summary: "Open the door" }])
}

#[derive(Deserialize)]
struct Rung {
    tenant: TenantId,
}

fn services() -> Vec<Service> {
    let barn = [barn()];
    let flags = flags::service(declared_features(&barn));
    barn.into_iter().chain([flags]).collect()
}

/// Returns the service and a barn on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, services(), Default::default()).await);
    }
    apps
}

/// Opens the barn's door.
async fn open(app: &TestApp, token: &str) -> TestResponse {
    app.post("/api/barn/door").token(token).send().await
}

/// Returns a superadmin's request.
fn platform<'a>(app: &'a TestApp, token: &str, method: Method, path: &str) -> TestRequest<'a> {
    app.request(method, &format!("{PLATFORM}{path}")).token(token).header("x-audit-reason", WHY)
}

/// Turns a flag for everybody.
async fn turn_for_all(app: &TestApp, token: &str, key: &str, verb: &str) -> TestResponse {
    platform(app, token, Method::POST, &format!("/{key}/{verb}")).send().await
}

/// Leaves a flag to the tenants.
async fn withdraw(app: &TestApp, token: &str, key: &str) -> TestResponse {
    platform(app, token, Method::DELETE, &format!("/{key}")).send().await
}

/// Turns a flag.
async fn turn(app: &TestApp, tenant: &TestTenant, key: &str, verb: &str) -> TestResponse {
    app.post(&format!("{FLAGS}/{key}/{verb}")).token(&tenant.admin_token).send().await
}

/// Returns what is listed, by key.
async fn list(app: &TestApp, path: &str, token: &str) -> Vec<Value> {
    let page = app.get(path).token(token).send().await.expect(200).data();
    page["items"].as_array().expect("flags").clone()
}

/// Returns the flags that the tenant has turned, by key.
async fn listed(app: &TestApp, tenant: &TestTenant) -> Vec<(String, bool)> {
    let items = list(app, FLAGS, &tenant.admin_token).await;
    let turned = items.iter().filter(|flag| !flag["enabled"].is_null());
    turned.map(|flag| (flag["key"].as_str().unwrap_or_default().to_owned(), flag["enabled"] == true)).collect()
}

/// Returns one flag as the tenant's administrator sees it.
async fn shown(app: &TestApp, tenant: &TestTenant, key: &str) -> Value {
    let items = list(app, FLAGS, &tenant.admin_token).await;
    items.into_iter().find(|flag| flag["key"] == key).unwrap_or_else(|| panic!("{key} is not listed"))
}

/// Returns the tenant's events of its own flags, as any member may read them.
async fn events(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    events_of(app, &tenant.viewer_token, "flags.flag.changed").await
}

/// Returns the events of a type in the tenant's log.
async fn events_of(app: &TestApp, token: &str, kind: &str) -> Vec<Value> {
    app.relay().await;
    let path = format!("/api/events?limit=200&type={kind}");
    let page = app.get(&path).token(token).send().await.expect(200).json();
    page["items"].as_array().expect("events").clone()
}
