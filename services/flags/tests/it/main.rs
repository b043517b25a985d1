//! The flags service through the door, on every engine that is there; one file per action, found by
//! itself. Who may do what is also the sweep's business, in the binary's tests.

automod::dir!("tests/it");

use serde_json::Value;
use testkit::{TestApp, TestResponse, TestTenant};

const FLAGS: &str = "/api/features";

/// Returns the service on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![flags::service()], Default::default()).await);
    }
    apps
}

/// Turns a flag.
async fn turn(app: &TestApp, tenant: &TestTenant, key: &str, verb: &str) -> TestResponse {
    app.post(&format!("{FLAGS}/{key}/{verb}")).token(&tenant.admin_token).send().await
}

/// Returns the tenant's flags, by key.
async fn listed(app: &TestApp, tenant: &TestTenant) -> Vec<(String, bool)> {
    let page = app.get(FLAGS).token(&tenant.admin_token).send().await.expect(200).data();
    let items = page["items"].as_array().expect("flags").iter();
    items.map(|flag| (flag["key"].as_str().unwrap_or_default().to_owned(), flag["enabled"] == true)).collect()
}

/// Returns the tenant's events of this service.
async fn events(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    app.relay().await;
    let path = "/api/events?limit=200&type=flags.flag.changed";
    let page = app.get(path).token(&tenant.viewer_token).send().await.expect(200).json();
    page["items"].as_array().expect("events").clone()
}
