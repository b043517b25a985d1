//! What an operator sees of subscriptions and does with them, over HTTP and from the command line.

use http::Method;
use identity::{Identity, Settings};
use portico::operator;
use serde_json::{Value, json};
use testkit::{Database, TestApp};

use crate::process::{Installation, run};
use crate::sweep_events::{PATH, STUCK, dispatcher, stuck};

async fn app(engine: store::Engine) -> TestApp {
    let identity = Identity::new(Settings::default()).expect("sound settings");
    let mut all = vec![inventory::service()];
    let own = operator::service(identity.clone(), &all, &[]);
    all.push(own);
    TestApp::with(Database::new(engine).await, all, identity).await
}

async fn ask(app: &TestApp, verb: &str, body: Value, status: u16) -> Value {
    let sent = app.post(&format!("{PATH}/{verb}")).token(app.operator_token()).json(&body).send().await;
    if status == 204 { sent.expect(204).text().is_empty().into() } else { sent.expect(status).json() }
}

async fn list(app: &TestApp) -> Value {
    let listed = app.get(&format!("{PATH}/subscriptions")).token(app.operator_token()).send().await.expect(200).json();
    let items = listed["items"].as_array().expect("a list");
    items.iter().find(|one| one["name"] == STUCK).expect("it is listed").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_stream_is_seen_tried_again_and_dropped() {
    for engine in testkit::engines() {
        let app = app(engine).await;
        let owner = app.tenant("one").await;
        let position = stuck(&app, &owner).await;
        let one = list(&app).await;
        assert_eq!((&one["known"], one["streams"].as_array().map(Vec::len)), (&json!(false), Some(1)));
        let stream = &one["streams"][0];
        assert_eq!((&stream["tenantId"], &stream["position"]), (&json!(owner.id), &json!(position)));
        assert_eq!((&stream["state"], &stream["attempts"]), (&json!("retrying"), &json!(1)));
        assert!(stream["nextTryAt"].is_string() && stream["error"].as_str().is_some_and(|why| why.contains("never")));

        let wanted = json!({ "subscription": STUCK, "tenantId": owner.id, "subject": stream["subject"] });
        assert_eq!(ask(&app, "retry", wanted, 200).await, json!({ "streams": 1 }));
        dispatcher(&app).run_until_idle().await.expect("the log can be read");
        assert_eq!(list(&app).await["streams"][0]["attempts"], 1, "all attempts were before it again");

        ask(&app, "skip", json!({ "subscription": STUCK, "position": position, "reason": " " }), 400).await;
        ask(&app, "skip", json!({ "subscription": STUCK, "position": position + 1, "reason": "typo" }), 404).await;
        ask(&app, "skip", json!({ "subscription": STUCK, "position": position, "reason": "ticket 7" }), 204).await;
        assert_eq!(list(&app).await["streams"], json!([]));

        ask(&app, "replay", json!({ "subscription": STUCK, "from": 0 }), 404).await;
        ask(&app, "replay", json!({ "subscription": STUCK, "from": 0, "to": 1 }), 400).await;
        ask(&app, "retry", json!({ "subscription": "nobody" }), 404).await;
        ask(&app, "forget", json!({ "subscription": "nobody" }), 404).await;
        ask(&app, "forget", json!({ "subscription": STUCK, "sure": true }), 400).await;
        ask(&app, "forget", json!({ "subscription": STUCK }), 204).await;
        ask(&app, "forget", json!({ "subscription": STUCK }), 404).await;
        let stranger =
            app.request(Method::GET, &format!("{PATH}/subscriptions")).token(&owner.admin_token).send().await;
        stranger.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_works_on_the_data_and_through_a_server() {
    let installation = Installation::new();
    let tells = |words: &[&str]| run(&mut installation.command(words)).well();
    let refuses = |words: &[&str]| run(&mut installation.command(words)).refused();
    let check = || {
        let listed = tells(&["events", "list"]);
        assert!(listed.starts_with("SUBSCRIPTION") && listed.contains("webhooks.deliveries"), "{listed}");
        let counted = tells(&["events", "replay", "webhooks.deliveries", "--from", "0", "--dry-run"]);
        assert!(counted.contains("nothing was changed"), "{counted}");
        let unknown = refuses(&["events", "retry", "nobody"]);
        assert!(unknown.contains("nobody"), "{unknown}");
        let nothing = refuses(&["events", "skip", "webhooks.deliveries", "7", "--reason", "typo"]);
        assert!(nothing.contains("position 7"), "{nothing}");
        let used = refuses(&["events", "forget", "webhooks.deliveries"]);
        assert!(used.contains("webhooks.deliveries is in use"), "{used}");
    };
    check();
    let server = installation.start().await;
    check();
    server.stop().await;
}
