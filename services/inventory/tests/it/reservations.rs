//! Reservations: holding, extending, taking, giving back, and running out.

use std::sync::Arc;

use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

use crate::batches::{agrees, batch, events, id, post, read};
use crate::{apps, item};

const MINUTE: i64 = 60_000_000;

async fn stocked(app: &TestApp, tenant: &TestTenant, units: i64) -> String {
    let path = item(app, tenant, "A").await;
    let body = json!({ "delta": units, "reason": "opening" });
    post(app, tenant, &format!("{path}/adjust"), body).await.expect(200);
    path
}

async fn reserve(app: &TestApp, tenant: &TestTenant, path: &str, body: Value) -> String {
    let made = post(app, tenant, &format!("{path}/reservations"), body).await.expect(201);
    made.header("location").to_owned()
}

async fn held(app: &TestApp, tenant: &TestTenant, path: &str) -> (Value, Value, Value) {
    let mut item = read(app, tenant, path).await;
    (item["quantity"].take(), item["reserved"].take(), item["available"].take())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_nobody_elses_until_it_is_taken_or_given_back() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = stocked(&app, &tenant, 10).await;
        let send = |key: &'static str| {
            let request = app.post(&format!("{path}/reservations")).token(&tenant.staff_token);
            let body = json!({ "quantity": 6, "reference": "order 7" });
            request.header("idempotency-key", key).json(&body).send()
        };
        let first = send("one").await.expect(201);
        assert_eq!(send("one").await.expect(201).data(), first.data(), "the same request gets the same answer");
        let first = first.header("location").to_owned();
        assert_eq!(held(&app, &tenant, &path).await, (json!(10), json!(6), json!(4)));
        assert_eq!(send("two").await.expect(409).code(), "inventory.insufficient_stock");
        for (action, body) in [
            ("consume", json!({ "quantity": 5 })),
            ("adjust", json!({ "delta": -5, "reason": "sold" })),
            ("reservations", json!({ "quantity": 5 })),
        ] {
            let refused = post(&app, &tenant, &format!("{path}/{action}"), body).await.expect(409);
            assert_eq!(refused.code(), "inventory.insufficient_stock", "{action}");
        }
        let second = reserve(&app, &tenant, &path, json!({ "quantity": 4, "seconds": 60 })).await;
        let open = read(&app, &tenant, &format!("{path}/reservations?limit=1")).await;
        assert_eq!((&open["items"][0]["quantity"], open["next"].is_string()), (&json!(6), true));
        let taken = post(&app, &tenant, &format!("{first}/consume"), json!({ "quantity": 5 })).await.expect(200).data();
        assert_eq!(
            (&taken["reservation"]["state"], &taken["item"]["quantity"], &taken["item"]["reserved"]),
            (&json!("consumed"), &json!(5), &json!(4))
        );
        let line = &taken["movements"][0];
        assert_eq!(
            (&line["delta"], &line["reason"], &line["reference"]),
            (&json!(-5), &json!("sold"), &json!("order 7"))
        );
        for action in ["consume", "extend", "release"] {
            let over = post(&app, &tenant, &format!("{first}/{action}"), json!({})).await.expect(409);
            assert_eq!(over.code(), "inventory.reservation_ended", "{action}");
        }
        let released = post(&app, &tenant, &format!("{second}/release"), json!({})).await.expect(200).data();
        assert_eq!(released["state"], "released");
        assert_eq!(held(&app, &tenant, &path).await, (json!(5), json!(0), json!(5)));
        for (state, count) in [("open", 0), ("consumed", 1), ("released", 1), ("expired", 0), ("all", 2)] {
            let page = read(&app, &tenant, &format!("{path}/reservations?state={state}")).await;
            assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{state}");
        }
        for (verb, count) in [("created", 2), ("consumed", 1), ("released", 1)] {
            let kind = format!("inventory.reservation.{verb}");
            assert_eq!(events(&app, &tenant, &kind).await.len(), count, "{verb}");
        }
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_whose_time_is_up_holds_nothing_though_nobody_swept() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = stocked(&app, &tenant, 10).await;
        let first = reserve(&app, &tenant, &path, json!({ "quantity": 10 })).await;
        app.clock().shift(15 * MINUTE - 1);
        assert_eq!(read(&app, &tenant, &first).await["state"], "open");
        post(&app, &tenant, &format!("{path}/reservations"), json!({ "quantity": 1 })).await.expect(409);
        app.clock().shift(1);
        let seen = app.get(&first).token(&tenant.staff_token).header("if-none-match", "\"v1\"").send().await;
        assert_eq!(seen.expect(200).data()["state"], "expired", "time changes it without a new version");
        let page = read(&app, &tenant, &format!("{path}/reservations?state=expired")).await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
        for action in ["consume", "extend", "release"] {
            let over = post(&app, &tenant, &format!("{first}/{action}"), json!({})).await.expect(409);
            assert_eq!(over.code(), "inventory.reservation_ended", "{action}");
        }
        assert_eq!(read(&app, &tenant, &format!("{path}/suggest?quantity=10")).await["sufficient"], true);
        let sold = json!({ "delta": -4, "reason": "sold" });
        post(&app, &tenant, &format!("{path}/adjust"), sold).await.expect(200);
        assert_eq!(held(&app, &tenant, &path).await, (json!(6), json!(0), json!(6)));
        assert_eq!(events(&app, &tenant, "inventory.reservation.expired").await.len(), 1);
        // Each way of taking looks for itself.
        for (action, body) in [("reservations", json!({ "quantity": 6 })), ("consume", json!({ "quantity": 6 }))] {
            let again = reserve(&app, &tenant, &path, json!({ "quantity": 6 })).await;
            app.clock().shift(15 * MINUTE);
            let done = post(&app, &tenant, &format!("{path}/{action}"), body).await;
            assert!(done.status.is_success(), "{action}: {}", done.text());
            if action == "reservations" {
                let place = done.header("location").to_owned();
                post(&app, &tenant, &format!("{place}/release"), json!({})).await.expect(200);
            }
            assert_eq!(read(&app, &tenant, &again).await["state"], "expired");
        }
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_swept_every_minute_for_all_tenants() {
    for app in apps().await {
        let mut kept = Vec::new();
        for name in ["farm", "mill"] {
            let tenant = app.tenant(name).await;
            let path = stocked(&app, &tenant, 10).await;
            reserve(&app, &tenant, &path, json!({ "quantity": 3 })).await;
            reserve(&app, &tenant, &path, json!({ "quantity": 4, "seconds": 7200 })).await;
            kept.push((tenant, path));
        }
        app.settle().await;
        app.clock().shift(16 * MINUTE);
        app.settle().await;
        for (tenant, path) in &kept {
            assert_eq!(held(&app, tenant, path).await, (json!(10), json!(4), json!(6)));
            assert_eq!(events(&app, tenant, "inventory.reservation.expired").await.len(), 1);
        }
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_time_is_given_once() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = stocked(&app, &tenant, 10).await;
        let place = reserve(&app, &tenant, &path, json!({ "quantity": 1, "seconds": 600 })).await;
        let extend = async |body: Value| post(&app, &tenant, &format!("{place}/extend"), body).await;
        for wrong in [
            json!({ "seconds": 0 }),
            json!({ "seconds": 604_801 }),
            json!({ "seconds": 60 }),
            json!({ "expiresAt": "2026-11-21T08:00:00Z" }),
            json!({ "expiresAt": "2026-11-28T08:00:01Z" }),
            json!({ "seconds": 700, "expiresAt": "2026-11-22T08:00:00Z" }),
        ] {
            extend(wrong).await.expect(400);
        }
        let more = extend(json!({ "expiresAt": "2026-11-22T08:00:00Z" })).await.expect(200).data();
        assert_eq!((&more["extended"], &more["expiresAt"]), (&json!(true), &json!("2026-11-22T08:00:00.000000Z")));
        assert_eq!(extend(json!({ "seconds": 604_800 })).await.expect(409).code(), "inventory.reservation_extended");
        app.clock().shift(11 * MINUTE);
        post(&app, &tenant, &format!("{place}/consume"), json!({})).await.expect(200);
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_should_send_is_refused_and_changes_nothing() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("other").await);
        let path = stocked(&app, &tenant, 10).await;
        let place = reserve(&app, &tenant, &path, json!({ "quantity": 2 })).await;
        let before = app.digest(&tenant).await;
        for wrong in [
            json!({}),
            json!({ "quantity": 0 }),
            json!({ "quantity": -1 }),
            json!({ "quantity": 1.5 }),
            json!({ "quantity": i64::MAX }),
            json!({ "quantity": 1, "seconds": -5 }),
            json!({ "quantity": 1, "seconds": 604_801 }),
            json!({ "quantity": 1, "expiresAt": "2026-11-21T07:00:00Z" }),
            json!({ "quantity": 1, "expiresAt": "9999-12-31T00:00:00Z" }),
            json!({ "quantity": 1, "seconds": 5, "expiresAt": "2026-11-21T09:00:00Z" }),
            json!({ "quantity": 1, "reference": "" }),
            json!({ "quantity": 1, "state": "consumed" }),
        ] {
            post(&app, &tenant, &format!("{path}/reservations"), wrong).await.expect(400);
        }
        for wrong in [
            json!({ "quantity": 0 }),
            json!({ "quantity": 3 }),
            json!({ "reason": "damaged" }),
            json!({ "quantity": 1, "occurredAt": "2999-01-01T00:00:00Z" }),
        ] {
            post(&app, &tenant, &format!("{place}/consume"), wrong).await.expect(400);
        }
        for action in ["consume", "extend", "release"] {
            post(&app, &other, &format!("{place}/{action}"), json!({})).await.expect(404);
        }
        post(&app, &other, &format!("{path}/reservations"), json!({ "quantity": 1 })).await.expect(404);
        app.get(&format!("{path}/reservations")).token(&other.staff_token).send().await.expect(404);
        app.get(&place).token(&other.staff_token).send().await.expect(404);
        app.get(&format!("{path}/reservations?state=odd")).token(&tenant.staff_token).send().await.expect(400);
        assert_eq!(app.digest(&tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reserving_may_make_an_item_short_and_units_in_quarantine_cannot_be_held() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = stocked(&app, &tenant, 10).await;
        let put = app.request(http::Method::PUT, &path).token(&tenant.staff_token);
        put.json(&json!({ "lowStockLevel": 4, "negativeStock": "allow" })).send().await.expect(200);
        let first = reserve(&app, &tenant, &path, json!({ "quantity": 5 })).await;
        assert_eq!(events(&app, &tenant, "inventory.item.low_stock").await, Vec::<Value>::new());
        reserve(&app, &tenant, &path, json!({ "quantity": 1 })).await;
        let short = events(&app, &tenant, "inventory.item.low_stock").await;
        assert_eq!((short.len(), &short[0]["available"], &short[0]["quantity"]), (1, &json!(4), &json!(10)));
        let quarantined = batch(&app, &tenant, &path, "Q", json!({ "quantity": 20 })).await;
        post(&app, &tenant, &format!("{quarantined}/qc"), json!({ "result": "failed" })).await.expect(200);
        let refused = post(&app, &tenant, &format!("{path}/reservations"), json!({ "quantity": 5 })).await;
        assert_eq!(refused.expect(409).code(), "inventory.insufficient_stock", "whatever the policy");
        post(&app, &tenant, &format!("{first}/consume"), json!({})).await.expect(200);
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_item_holds_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = stocked(&app, &tenant, 10).await;
        let place = reserve(&app, &tenant, &path, json!({ "quantity": 2 })).await;
        let delete =
            |query: &str| app.request(http::Method::DELETE, &format!("{path}{query}")).token(&tenant.staff_token);
        delete("").send().await.expect(409);
        delete("?force=true").send().await.expect(200);
        assert_eq!(read(&app, &tenant, &place).await["state"], "released");
        app.post(&format!("{path}/restore")).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(held(&app, &tenant, &path).await, (json!(10), json!(0), json!(10)));
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reservation_is_taken_once() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let path = stocked(&app, &tenant, 10).await;
        let place = reserve(&app, &tenant, &path, json!({ "quantity": 5 })).await;
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (app, tenant, place) = (app.clone(), tenant.clone(), place.clone());
                let action = ["consume", "release"][client % 2];
                tokio::spawn(async move { post(&app, &tenant, &format!("{place}/{action}"), json!({})).await })
            })
            .collect();
        let mut done = 0;
        for client in clients {
            let answer = client.await.expect("answered");
            assert!([200, 409].contains(&answer.status.as_u16()), "{}", answer.text());
            done += usize::from(answer.status == 200);
        }
        assert_eq!(done, 1);
        let (quantity, reserved, _) = held(&app, &tenant, &path).await;
        assert_eq!(reserved, json!(0), "{quantity}");
        assert_eq!(read(&app, &tenant, &format!("{path}/reservations")).await["items"], json!([]), "{}", id(&place));
        agrees(&app).await;
    }
}
