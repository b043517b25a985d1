//! Two processes over one PostgreSQL: what one turns off, the other refuses soon, though the flags
//! service does not run there. Prints how long that took. And the flags that a tenant was made with.
//! Not for one process, which refuses at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use portico::config::Config;
use portico::services::{self, States};
use serde_json::{Value, json};
use testkit::{Database, TestApp};

use crate::client::{Answer, Client};
use crate::fresh_database::FreshDatabase;
use crate::process::{Installation, until};

const PASSWORD: &str = "seven otters juggle lamps";
const SWITCH: &str = "inventory.adjust";
const ROUNDS: usize = 10;
/// Far above the second in which it is to hold: a machine may be busy.
const LIMIT: Duration = Duration::from_secs(10);

fn token(value: &Value) -> Arc<str> {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).into()
}

async fn ask(client: &mut Client, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = client.request(method, path).header("x-audit-reason", "a test");
    client.send(request, body.as_ref()).await.expect("an answer")
}

/// Waits until the stock can be changed, or not, and says how long that took.
async fn until_status(client: &mut Client, path: &str, status: u16, since: Instant) -> Duration {
    let what = format!("{status} at {path}");
    let body = json!({ "delta": 1, "reason": "received" });
    until(LIMIT, &what, async || (client.post(path, &body).await.status == status).then_some(())).await;
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_switches_off_the_other_refuses() {
    let Some(database) = FreshDatabase::create().await else { return };
    let make = || {
        let home = Installation::new().set("store.url", &database.url()).set("master_key", &"5a".repeat(32));
        home.set("cluster.secret", "a cluster secret of more than thirty-two bytes")
    };
    let first = make();
    let here = first.start().await;
    let access = token(&here.session().await["accessToken"]);
    let others = services::described().into_iter().map(|service| service.name).filter(|name| *name != "flags");
    let roles: Vec<&str> = others.chain(["gateway"]).collect();
    // Nobody asks it: the switches are in the memory of each process.
    let second = make().set("roles", &json!(roles).to_string()).set("upstreams.flags.url", "http://127.0.0.1:9");
    let there = second.start().await;

    let mut admin = here.connect(Some(&access)).await;
    let body = json!({ "newPassword": PASSWORD });
    ask(&mut admin, Method::POST, "/api/auth/password/change", Some(body)).await.expect(204);
    let body = json!({ "organization": "main", "reason": "a test", "password": PASSWORD });
    let inside = ask(&mut admin, Method::POST, "/api/auth/elevate", Some(body)).await.expect(200).json();
    let mut boss = here.connect(Some(&token(&inside["accessToken"]))).await;
    let made = admin.post("/api/inventory", &json!({ "sku": "S-1", "name": "Feed" })).await.expect(201).data();
    let adjust = format!("/api/inventory/{}/adjust", made["id"].as_str().expect("an id"));
    let mut far = there.connect(Some(&access)).await;
    far.post(&adjust, &json!({ "delta": 1, "reason": "received" })).await.expect(200);

    let (own, all) = (format!("/api/features/{SWITCH}"), format!("/api/v1/platform/features/{SWITCH}"));
    let mut slowest = [Duration::ZERO; 4];
    for _ in 0..ROUNDS {
        for (place, method, path, status) in [
            (0, Method::POST, format!("{own}/disable"), 503),
            (1, Method::POST, format!("{all}/enable"), 200),
            (2, Method::POST, format!("{all}/disable"), 503),
            (3, Method::POST, format!("{own}/enable"), 503),
            (3, Method::DELETE, all.clone(), 200),
        ] {
            let began = Instant::now();
            ask(&mut boss, method, &path, None).await.expect(200);
            // The process that turned it knows at once.
            admin.post(&adjust, &json!({ "delta": 1, "reason": "received" })).await.expect(status);
            slowest[place] = slowest[place].max(until_status(&mut far, &adjust, status, began).await);
        }
    }
    let refused = ask(&mut boss, Method::POST, &format!("{all}/disable"), None).await.expect(200).data();
    assert_eq!((&refused["enabled"], &refused["reason"]), (&json!(false), &json!("a test")));
    until_status(&mut far, &adjust, 503, Instant::now()).await;
    let refused = far.post(&adjust, &json!({ "delta": 1, "reason": "received" })).await.expect(503);
    let retry_after = refused.headers.get("retry-after").and_then(|value| value.to_str().ok());
    assert_eq!((refused.code().as_str(), retry_after), ("flags.feature_disabled", Some("30")));
    for (what, took) in
        ["off for a tenant", "on for everybody", "off for everybody", "left to the tenants"].iter().zip(slowest)
    {
        println!("a switch {what}: holds in the other process after at most {} ms", took.as_millis());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_begins_with_the_flags_that_it_was_made_with() {
    for engine in testkit::engines() {
        let states = States::new(&Config::default()).expect("sound settings");
        let mut all = services::all(&states);
        // Webhooks would have to be opened, and have nothing to do here.
        all.retain(|service| service.name != "webhooks");
        let app = TestApp::with(Database::new(engine).await, all, states.identity).await;
        let superadmin = app.superadmin(&app.tenant("platform").await);
        let body = json!({
            "slug": "green-farm", "name": "Farm", "admin": { "email": "ada@example.org" }, "flags": { SWITCH: false },
        });
        let made = app.post("/api/v1/tenants/provision").token(&superadmin).header("x-audit-reason", "a test");
        let asked = made.header("prefer", "respond-async").json(&body).send().await.expect(202);
        assert_eq!(asked.json()["status"], json!("running"));
        app.settle().await;
        let code = app.code_in_letter("ada@example.org", 1).await;
        let accept = json!({ "code": code, "name": "Ada", "password": PASSWORD });
        let signed_in = app.post("/api/auth/invitations/accept").json(&accept).send().await.expect(200).json();
        let ada = signed_in["accessToken"].as_str().expect("a token");
        let item = app.post("/api/inventory").token(ada).json(&json!({ "sku": "S-1", "name": "Feed" }));
        let path = item.send().await.expect(201).header("location").to_owned();
        // Heard of a moment after the tenant was made.
        until(LIMIT, "503 at an adjustment", async || {
            let adjust =
                app.post(&format!("{path}/adjust")).token(ada).json(&json!({ "delta": 1, "reason": "received" }));
            (adjust.send().await.code() == "flags.feature_disabled").then_some(())
        })
        .await;
        app.post(&format!("/api/features/{SWITCH}/enable")).token(ada).send().await.expect(200);
        let adjust = app.post(&format!("{path}/adjust")).token(ada).json(&json!({ "delta": 1, "reason": "received" }));
        adjust.send().await.expect(200);
    }
}
