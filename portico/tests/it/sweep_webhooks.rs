//! How the sweep tries what the webhooks service does. Not a test by itself: see `sweep`.

use http::Method;
use serde_json::{Value, json};
use testkit::{Attempt, Sweep, TestApp, TestTenant};

const ENDPOINTS: &str = "/api/webhooks/endpoints";
const DELIVERIES: &str = "/api/webhooks/deliveries";
/// What no answer to anybody but the owner may show; it leads nowhere.
const SENTINEL: &str = "https://sentinel-7f3a.invalid/";

/// Creates an endpoint of the owner's and returns its path.
async fn endpoint(app: &TestApp, owner: &TestTenant) -> String {
    make_room(app, owner).await;
    let body = json!({ "url": SENTINEL, "events": ["webhooks.*"] });
    let made = app.post(ENDPOINTS).token(&owner.admin_token).json(&body).send().await.expect(201);
    made.header("location").to_owned()
}

/// The sweep makes more endpoints than a tenant may have.
async fn make_room(app: &TestApp, owner: &TestTenant) {
    let page = app.get(&format!("{ENDPOINTS}?limit=200")).token(&owner.admin_token).send().await.expect(200).json();
    let items = page["items"].as_array().expect("items");
    for item in items.iter().filter(|_| items.len() >= 20) {
        remove(app, owner, &format!("{ENDPOINTS}/{}", text(&item["id"]))).await;
    }
}

async fn remove(app: &TestApp, owner: &TestTenant, path: &str) {
    app.request(Method::DELETE, path).token(&owner.admin_token).send().await.expect(204);
}

async fn switch(app: &TestApp, owner: &TestTenant, path: &str, on: bool) {
    let change = app.request(Method::PATCH, path).token(&owner.admin_token).json(&json!({ "enabled": on }));
    change.send().await.expect(200);
}

/// Has a test message made for an endpoint, and given up: nothing is sent to what is switched off.
async fn delivery(app: &TestApp, owner: &TestTenant) -> String {
    let path = endpoint(app, owner).await;
    app.post(&format!("{path}/test")).token(&owner.admin_token).send().await.expect(202);
    app.relay().await;
    app.dispatcher().run_until_idle().await.expect("the log can be read");
    switch(app, owner, &path, false).await;
    app.settle().await;
    switch(app, owner, &path, true).await;
    let query = format!("{DELIVERIES}?endpointId={}", path.rsplit('/').next().unwrap_or_default());
    let page = app.get(&query).token(&owner.admin_token).send().await.expect(200).json();
    text(&page["items"][0]["id"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

pub fn add(sweep: Sweep) -> Sweep {
    deliveries(sweep)
        .operation("webhooks_create_endpoint", |app, owner| {
            Box::pin(async move {
                make_room(app, owner).await;
                Attempt::at(ENDPOINTS).body(json!({ "url": "https://whoever-makes-it.invalid/" })).status(201).own()
            })
        })
        .operation("webhooks_list_endpoints", |app, owner| {
            Box::pin(async move {
                endpoint(app, owner).await;
                Attempt::at(format!("{ENDPOINTS}?limit=200")).shows(SENTINEL).own()
            })
        })
        .operation("webhooks_get_endpoint", |app, owner| {
            Box::pin(async move { Attempt::at(endpoint(app, owner).await).shows(SENTINEL) })
        })
        .operation("webhooks_update_endpoint", |app, owner| {
            Box::pin(async move { Attempt::at(endpoint(app, owner).await).body(json!({ "rate": 7 })).shows(SENTINEL) })
        })
        .operation("webhooks_delete_endpoint", |app, owner| {
            Box::pin(async move { Attempt::at(endpoint(app, owner).await).status(204) })
        })
        .operation("webhooks_restore_endpoint", |app, owner| {
            Box::pin(async move {
                let path = endpoint(app, owner).await;
                remove(app, owner, &path).await;
                Attempt::at(format!("{path}/restore")).shows(SENTINEL)
            })
        })
        .operation("webhooks_rotate_secret", |app, owner| {
            Box::pin(
                async move { Attempt::at(format!("{}/rotate-secret", endpoint(app, owner).await)).shows(SENTINEL) },
            )
        })
        .operation("webhooks_test_endpoint", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/test", endpoint(app, owner).await)).status(202) })
        })
        .operation("webhooks_replay_missing", |app, owner| {
            Box::pin(async move {
                let body = json!({ "since": app.clock().now() });
                Attempt::at(format!("{}/replay-missing", endpoint(app, owner).await)).body(body).status(202)
            })
        })
}

fn deliveries(sweep: Sweep) -> Sweep {
    sweep
        .operation("webhooks_list_deliveries", |app, owner| {
            Box::pin(async move {
                let id = delivery(app, owner).await;
                Attempt::at(format!("{DELIVERIES}?limit=200")).shows(id).own()
            })
        })
        .operation("webhooks_get_delivery", |app, owner| {
            Box::pin(async move {
                let id = delivery(app, owner).await;
                Attempt::at(format!("{DELIVERIES}/{id}")).shows(id)
            })
        })
        .operation("webhooks_replay_delivery", |app, owner| {
            Box::pin(async move {
                let id = delivery(app, owner).await;
                Attempt::at(format!("{DELIVERIES}/{id}/replay")).status(202).shows(id)
            })
        })
}
