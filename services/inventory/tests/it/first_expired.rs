//! First expired, first out: what is suggested, what is taken, and many who take at once.

use std::sync::Arc;

use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

use crate::batches::{agrees, batch, id, post, read};
use crate::{apps, item, quantity};

async fn adjust(app: &TestApp, tenant: &TestTenant, path: &str, delta: i64) {
    let body = json!({ "delta": delta, "reason": if delta < 0 { "counted" } else { "received" } });
    post(app, tenant, &format!("{path}/adjust"), body).await.expect(200);
}

/// An item with 3 units in no batch and batches of which two are not to be taken.
async fn shelf(app: &TestApp, tenant: &TestTenant) -> String {
    let path = item(app, tenant, "A").await;
    adjust(app, tenant, &path, 3).await;
    for (code, quantity, expires) in [
        ("never", 5, None),
        ("late", 5, Some("2027-01-01T00:00:00Z")),
        ("soon", 5, Some("2026-12-01T00:00:00Z")),
        ("expired", 5, Some("2026-11-21T08:30:00Z")),
        ("failed", 5, Some("2026-11-25T00:00:00Z")),
    ] {
        let mut body = json!({ "quantity": quantity });
        if let Some(expires) = expires {
            body["expiresAt"] = json!(expires);
        }
        let place = batch(app, tenant, &path, code, body).await;
        if code == "failed" {
            post(app, tenant, &format!("{place}/qc"), json!({ "result": "failed" })).await.expect(200);
        }
    }
    app.clock().shift(3_600_000_000);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_what_is_suggested() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = shelf(&app, &tenant).await;
        let suggest = async |quantity: i64| read(&app, &tenant, &format!("{path}/suggest?quantity={quantity}")).await;
        let codes = |suggested: &Value| -> Vec<(String, i64)> {
            let lines = suggested["batches"].as_array().expect("batches").iter();
            let line = |line: &Value| (line["code"].as_str().unwrap_or_default().to_owned(), line["quantity"].as_i64());
            lines.map(line).map(|(code, quantity)| (code, quantity.unwrap_or(0))).collect()
        };
        let few = suggest(7).await;
        assert_eq!(codes(&few), [("soon".to_owned(), 5), ("late".to_owned(), 2)]);
        assert_eq!((&few["sufficient"], &few["free"], &few["loose"]), (&json!(true), &json!(18), &json!(0)));
        let many = suggest(19).await;
        assert_eq!((&many["sufficient"], &many["loose"]), (&json!(false), &json!(3)));
        for wrong in ["", "?quantity=0", "?quantity=-1", "?quantity=x", "?quantity=1&more=1"] {
            app.get(&format!("{path}/suggest{wrong}")).token(&tenant.staff_token).send().await.expect(400);
        }
        let consume = async |body: Value| post(&app, &tenant, &format!("{path}/consume"), body).await;
        let before = app.digest(&tenant).await;
        assert_eq!(consume(json!({ "quantity": 19 })).await.expect(409).code(), "inventory.insufficient_stock");
        for wrong in [json!({}), json!({ "quantity": 0 }), json!({ "quantity": 1, "reason": "damaged" })] {
            consume(wrong).await.expect(400);
        }
        assert_eq!(app.digest(&tenant).await, before, "what is refused changes nothing");
        let taken =
            consume(json!({ "quantity": 17, "reason": "sold", "reference": "order 7" })).await.expect(200).data();
        let lines = taken["movements"].as_array().expect("movements");
        let deltas: Vec<_> = lines.iter().map(|line| (line["delta"].clone(), line["batchId"].is_null())).collect();
        assert_eq!(deltas, [(json!(-5), false), (json!(-5), false), (json!(-5), false), (json!(-2), true)]);
        assert!(lines.iter().all(|line| line["reference"] == "order 7" && line["reason"] == "sold"), "{taken}");
        assert_eq!(taken["item"]["quantity"], json!(11));
        assert_eq!(suggest(1).await["free"], json!(1));
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_stock_may_fall_below_zero_what_is_missing_is_in_no_batch() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        batch(&app, &tenant, &path, "L", json!({ "quantity": 5 })).await;
        let put = app.request(http::Method::PUT, &path).token(&tenant.staff_token);
        put.json(&json!({ "negativeStock": "allow" })).send().await.expect(200);
        let taken = post(&app, &tenant, &format!("{path}/consume"), json!({ "quantity": 8 })).await.expect(200).data();
        assert_eq!((&taken["item"]["quantity"], &taken["movements"][1]["delta"]), (&json!(-3), &json!(-3)));
        agrees(&app).await;
    }
}

/// One round of somebody who takes in all ways; returns how many units were got.
async fn round(app: &TestApp, tenant: &TestTenant, path: &str, places: &[String], number: usize) -> i64 {
    let got = |answer: testkit::TestResponse, units: i64| {
        let status = answer.status.as_u16();
        assert!([200, 201, 409].contains(&status), "{status}: {}", answer.text());
        if status == 409 {
            assert_eq!(answer.code(), "inventory.insufficient_stock");
        }
        (if status == 409 { 0 } else { units }, answer)
    };
    match number % 4 {
        0 => got(post(app, tenant, &format!("{path}/consume"), json!({ "quantity": 3 })).await, 3).0,
        1 => {
            let place = &places[number % places.len()];
            got(post(app, tenant, &format!("{place}/consume"), json!({ "quantity": 2 })).await, 2).0
        }
        kind => {
            let held = post(app, tenant, &format!("{path}/reservations"), json!({ "quantity": 4 })).await;
            let (units, held) = got(held, 4);
            if units == 0 {
                return 0;
            }
            let place = held.header("location").to_owned();
            if kind == 2 {
                post(app, tenant, &format!("{place}/consume"), json!({ "quantity": 3 })).await.expect(200);
                return 3;
            }
            post(app, tenant, &format!("{place}/release"), json!({})).await.expect(200);
            0
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_take_at_once_never_take_more_than_there_is() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        adjust(&app, &tenant, &path, 11).await;
        let mut places = Vec::new();
        for (code, quantity) in [("1", 40), ("2", 30), ("3", 20)] {
            let expires = format!("2026-12-0{code}T00:00:00Z");
            places.push(batch(&app, &tenant, &path, code, json!({ "quantity": quantity, "expiresAt": expires })).await);
        }
        let clients: Vec<_> = (0..16)
            .map(|client| {
                let (app, tenant, path, places) = (app.clone(), tenant.clone(), path.clone(), places.clone());
                tokio::spawn(async move {
                    let mut units = 0;
                    for turn in 0..5 {
                        units += round(&app, &tenant, &path, &places, client + turn).await;
                    }
                    units
                })
            })
            .collect();
        let mut taken = 0;
        for client in clients {
            taken += client.await.expect("a client that was answered");
        }
        agrees(&app).await;
        let left = 101 - taken;
        assert!(left >= 0, "{taken} of 101 were taken");
        assert_eq!(quantity(&app, &tenant, &path).await, json!(left));
        let list = read(&app, &tenant, &format!("/api/inventory/batches?itemId={}", id(&path))).await;
        let in_batches: i64 =
            list["items"].as_array().expect("batches").iter().filter_map(|batch| batch["quantity"].as_i64()).sum();
        let shown = read(&app, &tenant, &path).await;
        assert_eq!(shown["reserved"], json!(0));
        assert!(in_batches <= left, "{in_batches} in batches, {left} in stock");
        // What is left can be taken to the last unit.
        if left > 0 {
            post(&app, &tenant, &format!("{path}/consume"), json!({ "quantity": left })).await.expect(200);
        }
        agrees(&app).await;
    }
}
