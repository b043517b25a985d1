//! How the sweep tries what the inventory service does with batches, reservations and reversals. Not a test
//! by itself: see `sweep`.

use http::Method;
use serde_json::{Value, json};
use testkit::{Attempt, Sweep, TestApp, TestTenant};

use crate::sweep::{SENTINEL, item};

const BATCHES: &str = "/api/inventory/batches";

fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Makes something of the owner's and returns its path.
async fn made(app: &TestApp, owner: &TestTenant, path: &str, body: Value) -> String {
    let made = app.post(path).token(&owner.admin_token).json(&body).send().await.expect(201);
    made.header("location").to_owned()
}

/// Enters a batch of a new item of the owner's and returns its path.
async fn batch(app: &TestApp, owner: &TestTenant) -> String {
    let item = item(app, owner).await;
    let body = json!({ "itemId": id(&item), "code": SENTINEL, "quantity": 5, "note": SENTINEL });
    made(app, owner, BATCHES, body).await
}

async fn deleted_batch(app: &TestApp, owner: &TestTenant) -> String {
    let path = batch(app, owner).await;
    let delete = app.request(Method::DELETE, &format!("{path}?force=true")).token(&owner.admin_token);
    delete.send().await.expect(200);
    path
}

/// Returns the path of the item that a batch is of.
async fn item_of(app: &TestApp, owner: &TestTenant, batch: &str) -> String {
    let shown = app.get(batch).token(&owner.admin_token).send().await.expect(200).data();
    format!("/api/inventory/{}", text(&shown["itemId"]))
}

/// Reserves units of a new item of the owner's; gives the item's path and the reservation's.
async fn reservation(app: &TestApp, owner: &TestTenant) -> (String, String) {
    let item = item(app, owner).await;
    let body = json!({ "quantity": 2, "reference": SENTINEL });
    let path = made(app, owner, &format!("{item}/reservations"), body).await;
    (item, path)
}

pub fn add(sweep: Sweep) -> Sweep {
    reservations(actions(sweep))
        .operation("inventory_list_batches", |app, owner| {
            Box::pin(async move {
                batch(app, owner).await;
                Attempt::at(format!("{BATCHES}?limit=200")).shows(SENTINEL).own()
            })
        })
        .operation("inventory_create_batch", |app, owner| {
            Box::pin(async move {
                // The item is the owner's, so nobody else can put a batch of it in.
                let item = item(app, owner).await;
                let body = json!({ "itemId": id(&item), "code": SENTINEL, "quantity": 5 });
                Attempt::at(BATCHES).body(body).status(201).shows(SENTINEL)
            })
        })
        .operation("inventory_get_batch", |app, owner| {
            Box::pin(async move { Attempt::at(batch(app, owner).await).shows(SENTINEL) })
        })
        .operation("inventory_update_batch", |app, owner| {
            Box::pin(async move {
                let body = json!({ "supplier": "Mill" });
                Attempt::at(batch(app, owner).await).body(body).shows(SENTINEL)
            })
        })
        .operation("inventory_delete_batch", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}?force=true", batch(app, owner).await)) })
        })
        .operation("inventory_restore_batch", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/restore", deleted_batch(app, owner).await)).shows(SENTINEL) })
        })
        .operation("inventory_export_batches", |app, owner| {
            Box::pin(async move {
                batch(app, owner).await;
                Attempt::at("/api/inventory/export/batches?format=csv").shows(SENTINEL).own()
            })
        })
}

fn actions(sweep: Sweep) -> Sweep {
    sweep
        .operation("inventory_consume_batch", |app, owner| {
            Box::pin(async move {
                let path = format!("{}/consume", batch(app, owner).await);
                Attempt::at(path).body(json!({ "quantity": 1 })).shows(SENTINEL)
            })
        })
        .operation("inventory_receive_batch", |app, owner| {
            Box::pin(async move {
                let path = format!("{}/receive", batch(app, owner).await);
                Attempt::at(path).body(json!({ "quantity": 1 })).shows(SENTINEL)
            })
        })
        .operation("inventory_check_batch", |app, owner| {
            Box::pin(async move {
                let path = format!("{}/qc", batch(app, owner).await);
                Attempt::at(path).body(json!({ "result": "passed" })).shows(SENTINEL)
            })
        })
        .operation("inventory_list_batch_movements", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/movements", batch(app, owner).await)).shows(SENTINEL) })
        })
        .operation("inventory_suggest_batches", |app, owner| {
            Box::pin(async move {
                let batch = batch(app, owner).await;
                Attempt::at(format!("{}/suggest?quantity=1", item_of(app, owner, &batch).await)).shows(SENTINEL)
            })
        })
        .operation("inventory_consume_item", |app, owner| {
            Box::pin(async move {
                let path = format!("{}/consume", item(app, owner).await);
                Attempt::at(path).body(json!({ "quantity": 1 })).shows(SENTINEL)
            })
        })
        .operation("inventory_reverse_movement", |app, owner| {
            Box::pin(async move {
                let item = item(app, owner).await;
                let logs = app.get(&format!("{item}/logs")).token(&owner.admin_token).send().await.expect(200).data();
                let movement = text(&logs["items"][0]["id"]);
                Attempt::at(format!("{item}/logs/{movement}/reverse")).body(json!({})).shows(SENTINEL)
            })
        })
}

fn reservations(sweep: Sweep) -> Sweep {
    sweep
        .operation("inventory_create_reservation", |app, owner| {
            Box::pin(async move {
                let path = format!("{}/reservations", item(app, owner).await);
                Attempt::at(path).body(json!({ "quantity": 1, "reference": SENTINEL })).status(201).shows(SENTINEL)
            })
        })
        .operation("inventory_list_reservations", |app, owner| {
            Box::pin(
                async move { Attempt::at(format!("{}/reservations", reservation(app, owner).await.0)).shows(SENTINEL) },
            )
        })
        .operation("inventory_get_reservation", |app, owner| {
            Box::pin(async move { Attempt::at(reservation(app, owner).await.1).shows(SENTINEL) })
        })
        .operation("inventory_extend_reservation", |app, owner| {
            Box::pin(async move {
                let path = format!("{}/extend", reservation(app, owner).await.1);
                Attempt::at(path).body(json!({ "seconds": 7200 })).shows(SENTINEL)
            })
        })
        .operation("inventory_consume_reservation", |app, owner| {
            Box::pin(async move {
                let path = format!("{}/consume", reservation(app, owner).await.1);
                Attempt::at(path).body(json!({})).shows(SENTINEL)
            })
        })
        .operation("inventory_release_reservation", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/release", reservation(app, owner).await.1)).shows(SENTINEL) })
        })
}
