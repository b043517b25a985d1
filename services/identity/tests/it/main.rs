//! The identity service through the door, on every engine that is there; one file per story, found
//! by itself. Who may call what is the sweep's business, in the binary's tests.

automod::dir!("tests/it");

use identity::{Identity, Settings};
use serde_json::{Value, json};
use testkit::{Database, TestApp, TestResponse, TestTenant};

const PASSWORD: &str = "seven otters juggle lamps";

/// Returns identity, and a service with permissions to try, on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![things::service()], Default::default()).await);
    }
    apps
}

/// Returns them under other settings, on SQLite.
async fn app_with(settings: Settings) -> TestApp {
    let database = Database::new(store::Engine::Sqlite).await;
    TestApp::with(database, vec![], Identity::new(settings).expect("sound settings")).await
}

/// Invites somebody and accepts for them; gives what they got.
async fn join(app: &TestApp, tenant: &TestTenant, email: &str, role: &str) -> Value {
    let invite = json!({ "email": email, "role": role });
    // Only a person makes administrators.
    let token = if role == "admin" { app.session(tenant).await } else { tenant.admin_token.clone() };
    let made = app.post("/api/auth/invitations").token(&token).json(&invite).send().await.expect(201);
    let accept = json!({ "code": made.json()["code"], "name": "Ada", "password": PASSWORD });
    app.post("/api/auth/invitations/accept").json(&accept).send().await.expect(200).json()
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> TestResponse {
    app.post("/api/auth/login").json(&json!({ "email": email, "password": password })).send().await
}

async fn me(app: &TestApp, token: &str) -> TestResponse {
    app.get("/api/auth/me").token(token).send().await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

/// Returns the events of a type in the tenant's log.
async fn events(app: &TestApp, tenant: &TestTenant, kind: &str) -> Vec<Value> {
    app.relay().await;
    let path = format!("/api/events?limit=200&type={kind}");
    let answer = app.get(&path).token(&tenant.admin_token).send().await.expect(200).json();
    answer["items"].as_array().expect("a list").clone()
}

/// Lets time pass.
fn pass(app: &TestApp, seconds: i64) {
    app.clock().shift(seconds * 1_000_000);
}
