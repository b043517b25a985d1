//! The webhooks service through the door and over the wire, on every engine that is there; one file per
//! subject, found by itself. Who may do what is also the sweep's business, in the binary's tests.

automod::dir!("tests/it");

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use receiver::Receiver;
use serde_json::{Value, json};
use service::{Audience, EventType, Service};
use store::{Engine, Event, Vault};
use testkit::{Database, TestApp, TestResponse, TestTenant};
use webhooks::{Internet, Network, Settings, Webhooks};

const ENDPOINTS: &str = "/api/webhooks/endpoints";
const DELIVERIES: &str = "/api/webhooks/deliveries";

/// What happens in these tests, and one thing that stays in the house.
const THINGS: [&str; 3] = ["things.thing.made", "things.thing.lost", "identity.session.seen"];

fn things() -> Service {
    let kind = |name| EventType { name, audience: Audience::Admins, retention_days: None, summary: "Something" };
    Service::new("things", "What happens in these tests").events(THINGS.map(kind))
}

/// Settings that let endpoints be on this machine.
fn at_home() -> Settings {
    Settings { allow_http: true, allow_networks: vec!["127.0.0.0/8".into()], ..Settings::default() }
}

/// Returns the service on a fresh database of this engine.
async fn app_on(engine: Engine, settings: Settings, network: Arc<dyn Network>) -> TestApp {
    let webhooks = Webhooks::on(settings, network).expect("sound settings");
    let services = vec![things(), webhooks::service(webhooks.clone())];
    let types: Vec<EventType> = services.iter().flat_map(|service| service.events.clone()).collect();
    webhooks.open(Vault::new(&[9; 32]), types).expect("opened once");
    TestApp::over(Database::new(engine).await, services).await
}

/// Returns the service on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(app_on(engine, at_home(), Arc::new(Internet)).await);
    }
    apps
}

/// Lets something happen in a tenant.
async fn happen(app: &TestApp, tenant: &TestTenant, kind: &str, subject: &str) {
    let mut ctx = app.context(tenant);
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    writer.record(Event::about(kind, subject, json!({ "subject": subject }))).await.expect("an event");
    writer.commit(kernel::Answer::no_content()).await.expect("kept");
}

/// Creates an endpoint; gives its path and its secret.
async fn endpoint(app: &TestApp, tenant: &TestTenant, body: Value) -> (String, String) {
    let made = app.post(ENDPOINTS).token(&tenant.admin_token).json(&body).send().await.expect(201);
    (made.header("location").to_owned(), made.json()["secret"].as_str().expect("a secret").to_owned())
}

/// Asks as the tenant's administrator.
async fn ask(app: &TestApp, tenant: &TestTenant, method: Method, path: &str, body: Value) -> TestResponse {
    let request = app.request(method, path).token(&tenant.admin_token);
    if body.is_null() { request.send().await } else { request.json(&body).send().await }
}

async fn read(app: &TestApp, tenant: &TestTenant, path: &str) -> Value {
    ask(app, tenant, Method::GET, path, Value::Null).await.expect(200).json()
}

/// Returns the tenant's deliveries, newest first.
async fn deliveries(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    read(app, tenant, &format!("{DELIVERIES}?limit=200")).await["items"].as_array().expect("items").clone()
}

/// Returns the types of the tenant's events of this service.
async fn told(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    app.relay().await;
    let page = read(app, tenant, "/api/events?limit=200").await;
    let items = page["items"].as_array().expect("events").iter().cloned();
    items.filter(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("webhooks."))).collect()
}

fn pass(app: &TestApp, time: Duration) {
    app.clock().shift(i64::try_from(time.as_micros()).expect("not for ever"));
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
