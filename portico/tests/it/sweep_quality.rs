//! How the sweep tries what the inventory service does about quality: predictions, the webhook of
//! laboratories, its keys. Not a test by itself: see `sweep`.

use serde_json::{Value, json};
use testkit::{Attempt, Sweep, TestApp, TestTenant, webhook_signature};

use crate::sweep::SENTINEL;

const KEYS: &str = "/api/inventory/qc-keys";
/// The sweep makes more keys than a tenant may have.
const ROOM: usize = 15;

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

async fn make_room(app: &TestApp, owner: &TestTenant) {
    let keys = app.get(KEYS).token(&owner.admin_token).send().await.expect(200).data();
    let items = keys["items"].as_array().expect("items").clone();
    for key in items.iter().filter(|_| items.len() >= ROOM) {
        let path = format!("{KEYS}/{}", text(&key["id"]));
        app.request(http::Method::DELETE, &path).token(&owner.admin_token).send().await.expect(200);
    }
}

/// Makes a key of the owner's.
async fn key(app: &TestApp, owner: &TestTenant) -> Value {
    make_room(app, owner).await;
    let body = json!({ "name": SENTINEL });
    app.post(KEYS).token(&owner.admin_token).json(&body).send().await.expect(201).data()
}

/// Enters a batch of the owner's and signs a result for it.
async fn post(app: &TestApp, owner: &TestTenant) -> Attempt {
    let key = key(app, owner).await;
    let item = crate::sweep::item(app, owner).await;
    let id = item.rsplit('/').next().unwrap_or_default();
    let batch = json!({ "itemId": id, "code": SENTINEL, "quantity": 1 });
    let path = "/api/inventory/batches";
    let batch = app.post(path).token(&owner.admin_token).json(&batch).send().await.expect(201).data();
    let body = json!({ "batchId": batch["id"], "result": "passed" });
    let (message, timestamp) = ("msg_sweep", app.clock().now().seconds().to_string());
    let signature = webhook_signature(&text(&key["secret"]), message, &timestamp, body.to_string().as_bytes());
    Attempt::at("/api/webhooks/qc")
        .body(body)
        .header("webhook-key-id", text(&key["id"]))
        .header("webhook-id", message)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .shows(SENTINEL)
}

pub fn add(sweep: Sweep) -> Sweep {
    let measured = json!({ "size": 42, "colorScore": 88, "defectCount": 1, "moisture": 11.5 });
    sweep
        .plain("inventory_predict_quality", Attempt::at("/api/ai/predict-quality").body(measured).own())
        .operation("inventory_receive_qc", |app, owner| Box::pin(post(app, owner)))
        .operation("inventory_create_qc_key", |app, owner| {
            Box::pin(async move {
                make_room(app, owner).await;
                Attempt::at(KEYS).body(json!({ "name": "of whoever makes it" })).status(201).own()
            })
        })
        .operation("inventory_list_qc_keys", |app, owner| {
            Box::pin(async move {
                key(app, owner).await;
                Attempt::at(KEYS).shows(SENTINEL).own()
            })
        })
        .operation("inventory_rotate_qc_key", |app, owner| {
            Box::pin(async move {
                let id = text(&key(app, owner).await["id"]);
                Attempt::at(format!("{KEYS}/{id}/rotate")).shows(SENTINEL)
            })
        })
        .operation("inventory_revoke_qc_key", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{KEYS}/{}", text(&key(app, owner).await["id"]))) })
        })
}
