//! Approving a supplier: once, up to an amount, and never by halves.

use serde_json::json;
use testkit::{TestApp, TestTenant};

use crate::apps;

async fn supplier(app: &TestApp, tenant: &TestTenant) -> String {
    let create = app.post("/api/example/suppliers").token(&tenant.staff_token);
    let created = create.json(&json!({ "name": "Feed & Seed" })).send().await.expect(201);
    created.header("location").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supplier_is_approved_once_and_the_event_says_up_to_which_amount() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = format!("{}/approve", supplier(&app, &tenant).await);
        let approve =
            |limit: i64| app.post(&path).token(&tenant.admin_token).json(&json!({ "orderLimit": limit })).send();
        assert_eq!(approve(0).await.expect(400).json()["errors"][0]["field"], "orderLimit");
        assert_eq!(approve(50_000).await.expect(200).data()["orderLimit"], 50_000);
        assert_eq!(approve(90_000).await.expect(409).code(), "example.supplier_already_approved");

        app.relay().await;
        let events = app.get("/api/events?type=example.supplier.approved").token(&tenant.staff_token);
        let events = events.send().await.expect(200).data();
        assert_eq!(events["items"].as_array().expect("a page").len(), 1, "a refusal writes no event");
        assert_eq!(events["items"][0]["data"], json!({ "name": "Feed & Seed", "orderLimit": 50_000 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_strangers_approve_nothing() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let path = format!("{}/approve", supplier(&app, &tenant).await);
        let approve = |token: &str| app.post(&path).token(token).json(&json!({ "orderLimit": 1 })).send();
        assert_eq!(approve(&tenant.staff_token).await.expect(403).code(), "request.forbidden");
        assert_eq!(approve(&other.admin_token).await.expect(404).code(), "request.not_found");
    }
}
