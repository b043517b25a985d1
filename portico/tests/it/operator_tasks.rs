//! What an operator sees of tasks and does with them, over HTTP and from the command line.

use identity::{Identity, Settings};
use portico::operator;
use serde_json::{Value, json};
use service::task_service;
use testkit::{Database, TestApp};

use crate::process::{Installation, run};
use crate::sweep_tasks::{HOPELESS, PATH, failed, queued};

async fn app(engine: store::Engine) -> TestApp {
    let identity = Identity::new(Settings::default()).expect("sound settings");
    let mut all = vec![task_service()];
    let own = operator::service(identity.clone(), &all, &[]);
    all.push(own);
    TestApp::with(Database::new(engine).await, all, identity).await
}

async fn get(app: &TestApp, path: &str) -> Value {
    app.get(&format!("{PATH}{path}")).token(app.operator_token()).send().await.expect(200).json()
}

async fn post(app: &TestApp, path: &str, status: u16) -> Value {
    app.post(&format!("{PATH}{path}")).token(app.operator_token()).send().await.expect(status).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_found_and_tried_again_and_what_waits_is_stopped() {
    for engine in testkit::engines() {
        let app = app(engine).await;
        let (one, two) = (app.tenant("one").await, app.tenant("two").await);
        let (dead, waiting) = (failed(&app, &one).await, queued(&app, &two).await);
        let all = get(&app, "").await;
        let counts = json!([
            { "job": HOPELESS, "state": "failed", "count": 1 },
            { "job": HOPELESS, "state": "queued", "count": 1 },
        ]);
        assert_eq!((&all["counts"], all["items"].as_array().map(Vec::len)), (&counts, Some(2)));
        let found = get(&app, &format!("?state=failed&job={HOPELESS}")).await;
        assert_eq!((&found["items"][0]["id"], &found["items"][0]["tenantId"]), (&json!(dead), &json!(one.id)));
        assert_eq!(get(&app, &format!("?tenant={}", two.id)).await["items"][0]["id"], json!(waiting));
        assert_eq!(get(&app, &format!("/{dead}")).await["error"]["code"], "sweep.hopeless");

        assert_eq!(post(&app, &format!("/{waiting}/retry"), 409).await["code"], "tasks.not_retryable");
        assert_eq!(post(&app, &format!("/{dead}/cancel"), 409).await["code"], "tasks.already_over");
        let again = post(&app, &format!("/{dead}/retry"), 200).await;
        assert_eq!((&again["state"], &again["attempts"]), (&json!("queued"), &json!(0)));
        assert_eq!(post(&app, &format!("/{waiting}/cancel"), 200).await["state"], "cancelled");
        app.relay().await;
        for (tenant, kind, id) in [(&one, "tasks.task.retried", dead), (&two, "tasks.task.cancelled", waiting)] {
            let events = app.get(&format!("/api/events?type={kind}")).token(&tenant.admin_token).send().await;
            let items = &events.expect(200).json()["items"];
            assert_eq!((&items[0]["subject"], items.as_array().map(Vec::len)), (&json!(id), Some(1)));
        }
        post(&app, &format!("/{}/retry", tasks::TaskId::new()), 404).await;
        app.get(PATH).token(&one.admin_token).send().await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_works_on_the_data_and_through_a_server() {
    let installation = Installation::new();
    let tells = |words: &[&str]| run(&mut installation.command(words)).well();
    let refuses = |words: &[&str]| run(&mut installation.command(words)).refused();
    let unknown = tasks::TaskId::new().to_string();
    let check = || {
        let listed = tells(&["tasks", "list", "--state", "failed", "--limit", "5"]);
        assert!(listed.contains("no tasks") || listed.starts_with("JOB"), "{listed}");
        for verb in ["show", "retry", "cancel"] {
            let said = refuses(&["tasks", verb, &unknown]);
            assert!(said.contains("no such thing"), "{said}");
        }
    };
    check();
    let server = installation.start().await;
    check();
    server.stop().await;
}
