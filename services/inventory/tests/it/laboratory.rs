//! A laboratory that posts quality results: its key, its signatures, and switches to turn. Not a test by
//! itself: see `qc_webhook` and `qc_keys`.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use inventory::Inventory;
use kernel::TenantId;
use serde_json::{Value, json};
use service::{Features, Following, Service};
use store::{Engine, Store, Vault};
use testkit::{Database, TestApp, TestResponse, TestTenant, webhook_signature};

use crate::item;

pub const WEBHOOK: &str = "/api/webhooks/qc";
pub const KEYS: &str = "/api/inventory/qc-keys";
pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;

/// Switches that a test turns.
#[derive(Clone, Default)]
pub struct Switches(Arc<Mutex<BTreeSet<String>>>);

impl Switches {
    pub fn turn_off(&self, key: &str) {
        self.0.lock().expect("not poisoned").insert(key.to_owned());
    }

    pub fn turn_on(&self, key: &str) {
        self.0.lock().expect("not poisoned").remove(key);
    }
}

impl Features for Switches {
    fn is_on(&self, _: TenantId, key: &str) -> bool {
        !self.0.lock().expect("not poisoned").contains(key)
    }

    fn open<'a>(
        &'a self,
        _: &'a Store,
        _: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = kernel::Result<Following>> + Send + 'a>> {
        Box::pin(async {
            let nothing: Following = Box::pin(async {});
            Ok(nothing)
        })
    }
}

/// Returns the service over this state, with switches to turn.
pub async fn app_on(engine: Engine, inventory: Inventory) -> (TestApp, Switches) {
    let switches = Switches::default();
    let knows = Service::new("switches", "Switches of a test").knows_features(Arc::new(switches.clone()));
    let services = vec![inventory::with(inventory), knows];
    (TestApp::over(Database::new(engine).await, services).await, switches)
}

/// Returns the service on a fresh database of each engine, open for laboratories.
pub async fn apps() -> Vec<(TestApp, Switches)> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        let inventory = Inventory::default();
        inventory.open(Vault::new(&[9; 32])).expect("opened once");
        apps.push(app_on(engine, inventory).await);
    }
    apps
}

/// A key, with its secret.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

impl Key {
    pub fn of(made: &Value) -> Self {
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        Self { id: text("id"), secret: text("secret") }
    }

    /// Makes one.
    pub async fn make(app: &TestApp, tenant: &TestTenant) -> Self {
        let made = app.post(KEYS).token(&tenant.admin_token).json(&json!({ "name": "Line 2" })).send().await;
        Self::of(&made.expect(201).data())
    }

    pub fn path(&self) -> String {
        format!("{KEYS}/{}", self.id)
    }
}

/// A post, sound unless something is changed.
#[derive(Clone, Debug)]
pub struct Post {
    pub key: String,
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub body: Vec<u8>,
}

impl Post {
    /// Signs these bytes as of now.
    pub fn raw(app: &TestApp, key: &Key, id: &str, body: &[u8]) -> Self {
        Self::at(key, id, app.clock().now().seconds(), body)
    }

    /// Signs these bytes as of some second.
    pub fn at(key: &Key, id: &str, seconds: i64, body: &[u8]) -> Self {
        let timestamp = seconds.to_string();
        let signature = webhook_signature(&key.secret, id, &timestamp, body);
        Self { key: key.id.clone(), id: id.to_owned(), timestamp, signature, body: body.to_vec() }
    }

    /// Signs this JSON as of now.
    pub fn new(app: &TestApp, key: &Key, id: &str, body: &Value) -> Self {
        Self::raw(app, key, id, body.to_string().as_bytes())
    }

    pub fn headers(&self) -> [(&'static str, &str); 4] {
        [
            ("webhook-key-id", &self.key),
            ("webhook-id", &self.id),
            ("webhook-timestamp", &self.timestamp),
            ("webhook-signature", &self.signature),
        ]
    }

    pub async fn send(&self, app: &TestApp) -> TestResponse {
        let mut request = app.post(WEBHOOK).header("content-type", "application/json");
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        request.bytes(self.body.clone()).send().await
    }
}

/// Enters a batch of a new item; gives its path and its id.
pub async fn batch(app: &TestApp, tenant: &TestTenant, sku: &str, code: &str) -> String {
    item(app, tenant, sku).await;
    let body = json!({ "sku": sku, "code": code, "quantity": 10 });
    let made = app.post("/api/inventory/batches").token(&tenant.admin_token).json(&body).send().await.expect(201);
    made.data()["id"].as_str().expect("an id").to_owned()
}

/// Reads a batch.
pub async fn read(app: &TestApp, tenant: &TestTenant, batch: &str) -> Value {
    let path = format!("/api/inventory/batches/{batch}");
    app.get(&path).token(&tenant.admin_token).send().await.expect(200).data()
}

/// Returns the tenant's events of a type, oldest first.
pub async fn events(app: &TestApp, tenant: &TestTenant, kind: &str) -> Vec<Value> {
    app.relay().await;
    let path = format!("/api/events?limit=200&type={kind}");
    let page = app.get(&path).token(&tenant.admin_token).send().await.expect(200).json();
    page["items"].as_array().expect("events").clone()
}
