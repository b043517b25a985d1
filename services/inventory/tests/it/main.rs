//! The inventory service through the door, on every engine that is there; one file per resource or
//! action, found by itself. Who may do what is the sweep's business, in the binary's tests.

automod::dir!("tests/it");

use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

const ITEMS: &str = "/api/inventory";

/// Returns the service on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![inventory::service()], Default::default()).await);
    }
    apps
}

/// Creates an item and returns its path.
async fn item(app: &TestApp, tenant: &TestTenant, sku: &str) -> String {
    let body = json!({ "sku": sku, "name": format!("Item {sku}") });
    let made = app.post(ITEMS).token(&tenant.staff_token).json(&body).send().await.expect(201);
    made.header("location").to_owned()
}

async fn quantity(app: &TestApp, tenant: &TestTenant, path: &str) -> Value {
    app.get(path).token(&tenant.viewer_token).send().await.expect(200).data()["quantity"].clone()
}
