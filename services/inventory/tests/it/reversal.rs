//! Taking movements back.

use std::sync::Arc;

use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

use crate::batches::{agrees, batch, post, read};
use crate::{apps, item, quantity};

/// Returns the item's newest movement.
async fn newest(app: &TestApp, tenant: &TestTenant, path: &str) -> Value {
    read(app, tenant, &format!("{path}/logs?limit=1")).await["items"][0].take()
}

fn reverse(path: &str, movement: &Value) -> String {
    format!("{path}/logs/{}/reverse", movement["id"].as_str().expect("an id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movement_is_taken_back_once_by_its_opposite() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("other").await);
        let path = item(&app, &tenant, "A").await;
        let second = item(&app, &tenant, "B").await;
        let adjust = format!("{path}/adjust");
        post(&app, &tenant, &adjust, json!({ "delta": 10, "reason": "received" })).await.expect(200);
        let received = newest(&app, &tenant, &path).await;
        let sold = json!({ "delta": -4, "reason": "sold", "amount": 700, "reference": "order 7" });
        post(&app, &tenant, &adjust, sold).await.expect(200);
        let sold = newest(&app, &tenant, &path).await;
        let before = app.digest(&tenant).await;
        let gone = post(&app, &tenant, &reverse(&path, &received), json!({})).await.expect(409);
        assert_eq!(gone.code(), "inventory.insufficient_stock", "four of the ten are gone");
        post(&app, &other, &reverse(&path, &sold), json!({})).await.expect(404);
        post(&app, &tenant, &reverse(&second, &sold), json!({})).await.expect(404);
        post(&app, &tenant, &reverse(&path, &sold), json!({ "delta": 4 })).await.expect(400);
        post(&app, &tenant, &format!("{path}/logs/itm_1/reverse"), json!({})).await.expect(400);
        assert_eq!(app.digest(&tenant).await, before);
        let key = || {
            let request = app.post(&reverse(&path, &sold)).token(&tenant.staff_token);
            request.header("idempotency-key", "k").json(&json!({ "note": "wrong item" })).send()
        };
        let back = key().await.expect(200).data();
        assert_eq!(key().await.expect(200).data(), back, "the same request gets the same answer");
        let line = &back["movement"];
        assert_eq!(
            (&line["delta"], &line["reason"], &line["amount"], &line["reference"], &line["note"], &line["reverses"]),
            (&json!(4), &json!("sold"), &json!(700), &json!("order 7"), &json!("wrong item"), &sold["id"])
        );
        assert_eq!(back["item"]["quantity"], json!(10));
        let again = post(&app, &tenant, &reverse(&path, &sold), json!({})).await.expect(409);
        assert_eq!(again.code(), "inventory.already_reversed");
        let twice = post(&app, &tenant, &reverse(&path, line), json!({})).await.expect(409);
        assert_eq!(twice.code(), "inventory.not_reversible");
        post(&app, &tenant, &reverse(&path, &received), json!({})).await.expect(200);
        assert_eq!(quantity(&app, &tenant, &path).await, json!(0));
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_follows_its_ledger_back() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let place = batch(&app, &tenant, &path, "L", json!({ "quantity": 10 })).await;
        let received = newest(&app, &tenant, &path).await;
        post(&app, &tenant, &format!("{place}/consume"), json!({ "quantity": 4 })).await.expect(200);
        let consumed = newest(&app, &tenant, &path).await;
        // There is stock enough, but not in the batch.
        post(&app, &tenant, &format!("{path}/adjust"), json!({ "delta": 9, "reason": "received" })).await.expect(200);
        let refused = post(&app, &tenant, &reverse(&path, &received), json!({})).await.expect(409);
        assert_eq!(refused.code(), "inventory.insufficient_stock");
        post(&app, &tenant, &reverse(&path, &consumed), json!({})).await.expect(200);
        assert_eq!(read(&app, &tenant, &place).await["quantity"], json!(10));
        post(&app, &tenant, &reverse(&path, &received), json!({})).await.expect(200);
        let emptied = read(&app, &tenant, &place).await;
        assert_eq!((&emptied["quantity"], &emptied["receivedQuantity"]), (&json!(0), &json!(0)));
        agrees(&app).await;
        let second = batch(&app, &tenant, &path, "M", json!({ "quantity": 5 })).await;
        post(&app, &tenant, &format!("{second}/consume"), json!({ "quantity": 5 })).await.expect(200);
        let consumed = newest(&app, &tenant, &path).await;
        app.request(http::Method::DELETE, &second).token(&tenant.staff_token).send().await.expect(200);
        let deleted = post(&app, &tenant, &reverse(&path, &consumed), json!({})).await.expect(409);
        assert_eq!(deleted.code(), "inventory.not_reversible");
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_take_one_movement_back_one_does() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        post(&app, &tenant, &format!("{path}/adjust"), json!({ "delta": 50, "reason": "opening" })).await.expect(200);
        post(&app, &tenant, &format!("{path}/adjust"), json!({ "delta": -5, "reason": "sold" })).await.expect(200);
        let reverse = reverse(&path, &newest(&app, &tenant, &path).await);
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (app, tenant, reverse) = (app.clone(), tenant.clone(), reverse.clone());
                tokio::spawn(async move { post(&app, &tenant, &reverse, json!({})).await })
            })
            .collect();
        let mut done = 0;
        for client in clients {
            let answer = client.await.expect("answered");
            if answer.status == 200 {
                done += 1;
            } else {
                assert_eq!(answer.expect(409).code(), "inventory.already_reversed");
            }
        }
        assert_eq!((done, quantity(&app, &tenant, &path).await), (1, json!(50)));
        agrees(&app).await;
    }
}
