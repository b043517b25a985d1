//! Batches: entering, reading, taking, checking, deleting. Not for which one is taken first: see
//! `first_expired`.

use http::Method;
use serde_json::{Value, json};
use testkit::{TestApp, TestResponse, TestTenant};

use crate::{apps, item, quantity};

pub const BATCHES: &str = "/api/inventory/batches";

/// Returns the id at the end of a path.
pub fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Enters a batch of an item and returns its path.
pub async fn batch(app: &TestApp, tenant: &TestTenant, item: &str, code: &str, more: Value) -> String {
    let mut body = json!({ "itemId": id(item), "code": code });
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let made = app.post(BATCHES).token(&tenant.staff_token).json(&body).send().await.expect(201);
    made.header("location").to_owned()
}

pub async fn post(app: &TestApp, tenant: &TestTenant, path: &str, body: Value) -> TestResponse {
    app.post(path).token(&tenant.staff_token).json(&body).send().await
}

pub async fn read(app: &TestApp, tenant: &TestTenant, path: &str) -> Value {
    app.get(path).token(&tenant.staff_token).send().await.expect(200).data()
}

/// Insists that stock, batches and reservations agree with the ledger.
pub async fn agrees(app: &TestApp) {
    let verified = inventory::verify(app.store()).await.expect("verified");
    assert_eq!(verified.drift, [], "stock does not agree with its ledger");
}

pub async fn events(app: &TestApp, tenant: &TestTenant, kind: &str) -> Vec<Value> {
    app.relay().await;
    let page = read(app, tenant, &format!("/api/events?limit=200&type={kind}")).await;
    page["items"].as_array().expect("events").iter().map(|event| event["data"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_brings_its_units_into_stock() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let body = json!({
            "sku": "A", "code": "L-1", "quantity": 40, "unitCost": 125, "supplier": "Mill", "note": "on a pallet",
            "receivedAt": "2026-11-20T08:00:00Z", "expiresAt": "2026-12-01T00:00:00Z",
        });
        let send = |key: &'static str| {
            app.post(BATCHES).token(&tenant.staff_token).header("idempotency-key", key).json(&body).send()
        };
        let made = send("one").await.expect(201);
        let place = made.header("location").to_owned();
        assert_eq!((made.header("etag"), made.data()["qcState"].clone()), ("\"v1\"", json!("pending")));
        assert_eq!(send("one").await.expect(201).data(), made.data(), "the same request gets the same answer");
        assert_eq!(send("two").await.expect(409).code(), "inventory.batch_code_taken");
        assert_eq!(quantity(&app, &tenant, &path).await, json!(40));
        let read_it = app.get(&place).token(&tenant.viewer_token);
        read_it.header("if-none-match", "\"v1\"").send().await.expect(304);
        let lines = read(&app, &tenant, &format!("{place}/movements")).await["items"].clone();
        let line = &lines[0];
        assert_eq!(
            (&line["delta"], &line["reason"], &line["amount"], &line["note"], &line["occurredAt"]),
            (&json!(40), &json!("received"), &json!(5000), &json!("on a pallet"), &made.data()["receivedAt"])
        );
        assert_eq!((lines.as_array().map(Vec::len), &line["batchId"]), (Some(1), &made.data()["id"]));
        let created = events(&app, &tenant, "inventory.batch.created").await;
        assert_eq!((created.len(), &created[0]["code"]), (1, &json!("L-1")));
        // One that is only announced brings nothing, and another item may have the same code.
        let other = item(&app, &tenant, "B").await;
        let announced = batch(&app, &tenant, &other, "L-1", json!({ "quantity": 0, "unitCost": 3 })).await;
        assert_eq!(quantity(&app, &tenant, &other).await, json!(0));
        app.clock().shift(60_000_000);
        for (came, there) in [(5, 5), (2, 7)] {
            let came = json!({ "quantity": came, "reference": "delivery 9" });
            let batch = post(&app, &tenant, &format!("{announced}/receive"), came).await.expect(200).data();
            assert_eq!((&batch["quantity"], &batch["receivedQuantity"]), (&json!(there), &json!(there)));
            assert_eq!(batch["receivedAt"], json!("2026-11-21T08:01:00.000000Z"));
            app.clock().shift(60_000_000);
        }
        let line = read(&app, &tenant, &format!("{announced}/movements?limit=1")).await["items"][0].clone();
        assert_eq!((&line["amount"], &line["reference"]), (&json!(6), &json!("delivery 9")));
        assert_eq!(quantity(&app, &tenant, &other).await, json!(7));
        let put = app.request(Method::PUT, &place).token(&tenant.staff_token).header("if-match", "\"v1\"");
        let changed = put.json(&json!({ "expiresAt": "2026-12-24T00:00:00Z" })).send().await.expect(200).data();
        assert_eq!((&changed["expiresAt"], &changed["quantity"]), (&json!("2026-12-24T00:00:00.000000Z"), &json!(40)));
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_should_send_is_refused_and_changes_nothing() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("other").await);
        let path = item(&app, &tenant, "A").await;
        let theirs = item(&app, &other, "THEIRS").await;
        let place = batch(&app, &tenant, &path, "L-1", json!({ "quantity": 10 })).await;
        let item = id(&path);
        let (before, others) = (app.digest(&tenant).await, app.digest(&other).await);
        for (body, status) in [
            (json!({}), 400),
            (json!({ "code": "X", "quantity": 1 }), 400),
            (json!({ "itemId": item, "sku": "A", "code": "X", "quantity": 1 }), 400),
            (json!({ "itemId": item, "code": "", "quantity": 1 }), 400),
            (json!({ "itemId": item, "code": "a\u{0}b", "quantity": 1 }), 400),
            (json!({ "itemId": item, "code": "X" }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": -1 }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": 1.5 }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": i64::MAX }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": 1, "unitCost": -1 }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": 1_000_000, "unitCost": 1_000_000_000_000_i64 }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": 1, "receivedAt": "2999-01-01T00:00:00Z" }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": 1, "expiresAt": "2026-11-21T08:00:00Z" }), 400),
            (json!({ "itemId": item, "code": "X", "quantity": 1, "qcState": "passed" }), 400),
            (json!({ "itemId": "itm_00000000000000000000000000", "code": "X", "quantity": 1 }), 404),
            (json!({ "itemId": id(&place), "code": "X", "quantity": 1 }), 400),
            (json!({ "itemId": id(&theirs), "code": "X", "quantity": 1 }), 404),
            (json!({ "sku": "THEIRS", "code": "X", "quantity": 1 }), 404),
        ] {
            let answer = post(&app, &tenant, BATCHES, body.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        }
        for (action, body, status) in [
            ("consume", json!({}), 400),
            ("consume", json!({ "quantity": 0 }), 400),
            ("consume", json!({ "quantity": -3 }), 400),
            ("consume", json!({ "quantity": i64::MIN }), 400),
            ("consume", json!({ "quantity": 1, "reason": "received" }), 400),
            ("consume", json!({ "quantity": 1, "occurredAt": "2999-01-01T00:00:00Z" }), 400),
            ("consume", json!({ "quantity": 1, "force": true }), 400),
            ("consume", json!({ "quantity": 11 }), 409),
            ("receive", json!({ "quantity": 0 }), 400),
            ("receive", json!({ "quantity": -1 }), 400),
            ("receive", json!({ "quantity": 1, "occurredAt": "2999-01-01T00:00:00Z" }), 400),
            ("qc", json!({}), 400),
            ("qc", json!({ "result": "maybe" }), 400),
            ("qc", json!({ "result": "passed", "grade": "D" }), 400),
        ] {
            let answer = post(&app, &tenant, &format!("{place}/{action}"), body.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{action} {body}: {}", answer.text());
            let theirs = post(&app, &other, &format!("{place}/{action}"), body).await;
            assert!([400, 404].contains(&theirs.status.as_u16()), "{}", theirs.text());
        }
        for query in ["limit=0", "limit=1&limit=2", "sort=supplier", "cursor=x", "itemId=1", "qcState=bad", "x=1"] {
            app.get(&format!("{BATCHES}?{query}")).token(&tenant.staff_token).send().await.expect(400);
        }
        app.get(&format!("{place}/movements?limit=201")).token(&tenant.staff_token).send().await.expect(400);
        app.get(&format!("{place}/movements")).token(&other.staff_token).send().await.expect(404);
        assert_eq!(app.digest(&tenant).await, before);
        assert_eq!(app.digest(&other).await, others);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_expired_or_failed_can_only_be_written_off() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let soon = json!({ "quantity": 10, "expiresAt": "2026-11-21T09:00:00Z" });
        let expires = batch(&app, &tenant, &path, "E", soon).await;
        let fails = batch(&app, &tenant, &path, "F", json!({ "quantity": 10 })).await;
        let consume = async |place: &str, quantity: i64, reason: &str| {
            let body = json!({ "quantity": quantity, "reason": reason, "reference": "order 7" });
            post(&app, &tenant, &format!("{place}/consume"), body).await
        };
        let taken = consume(&expires, 3, "consumed").await.expect(200).data();
        assert_eq!(
            (&taken["batch"]["quantity"], &taken["item"]["quantity"], &taken["movement"]["delta"]),
            (&json!(7), &json!(17), &json!(-3))
        );
        let told = events(&app, &tenant, "inventory.batch.consumed").await;
        assert_eq!(
            told,
            [json!({
                "batchId": id(&expires), "itemId": id(&path), "sku": "A", "code": "E", "quantity": 3, "remaining": 7,
                "reason": "consumed", "reference": "order 7", "movementId": taken["movement"]["id"],
            })]
        );
        let check = async |result: &str, grade: &str, note: &str| {
            let body = json!({ "result": result, "grade": grade, "note": note });
            post(&app, &tenant, &format!("{fails}/qc"), body).await.expect(200).data()
        };
        let failed = check("failed", "C", "Too wet.").await;
        assert_eq!(
            (&failed["qcState"], &failed["qcGrade"], &failed["quantity"]),
            (&json!("failed"), &json!("C"), &json!(10))
        );
        app.clock().shift(3_600_000_000);
        let before = app.digest(&tenant).await;
        assert_eq!(consume(&expires, 1, "sold").await.expect(409).code(), "inventory.batch_expired");
        assert_eq!(consume(&fails, 1, "consumed").await.expect(409).code(), "inventory.batch_failed_qc");
        assert_eq!(app.digest(&tenant).await, before);
        consume(&expires, 7, "damaged").await.expect(200);
        consume(&fails, 1, "counted").await.expect(200);
        check("passed", "B", "Dried.").await;
        consume(&fails, 9, "sold").await.expect(200);
        assert_eq!(quantity(&app, &tenant, &path).await, json!(0));
        let verdict = &events(&app, &tenant, "inventory.batch.qc_failed").await[0];
        for (field, value) in [
            ("batch", "F"),
            ("code", "F"),
            ("sku", "A"),
            ("name", "Item A"),
            ("reason", "Too wet."),
            ("note", "Too wet."),
            ("grade", "C"),
            ("source", "person"),
            ("batchId", id(&fails)),
            ("itemId", id(&path)),
        ] {
            assert_eq!(verdict[field], value, "{field}");
        }
        assert_eq!(events(&app, &tenant, "inventory.batch.qc_passed").await.len(), 1);
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_batch_leaves_no_units_behind_and_comes_back_when_it_can() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let place = batch(&app, &tenant, &path, "L", json!({ "quantity": 10 })).await;
        let delete = |query: &str| app.request(Method::DELETE, &format!("{place}{query}")).token(&tenant.staff_token);
        let before = app.digest(&tenant).await;
        assert_eq!(delete("").send().await.expect(409).code(), "inventory.batch_in_use");
        delete("?force=true").header("if-match", "\"v7\"").send().await.expect(412);
        assert_eq!(app.digest(&tenant).await, before);
        delete("?force=true").header("if-match", "\"v1\"").send().await.expect(200);
        delete("").send().await.expect(404);
        assert_eq!(quantity(&app, &tenant, &path).await, json!(0));
        let lines = read(&app, &tenant, &format!("{place}/movements")).await["items"].clone();
        assert_eq!((&lines[0]["delta"], &lines[0]["reason"]), (&json!(-10), &json!("damaged")));
        post(&app, &tenant, &format!("{place}/consume"), json!({ "quantity": 1 })).await.expect(404);
        assert_eq!(read(&app, &tenant, BATCHES).await["items"], json!([]));
        let with_deleted = format!("{BATCHES}?includeDeleted=true");
        app.get(&with_deleted).token(&tenant.staff_token).send().await.expect(403);
        let all = app.get(&with_deleted).token(&tenant.admin_token).send().await.expect(200).data();
        assert!(all["items"][0]["deletedAt"].is_string(), "{all}");
        let second = batch(&app, &tenant, &path, "L", json!({ "quantity": 0 })).await;
        let restore = || app.post(&format!("{place}/restore")).token(&tenant.admin_token).send();
        assert_eq!(restore().await.expect(409).code(), "inventory.batch_code_taken");
        app.request(Method::DELETE, &second).token(&tenant.staff_token).send().await.expect(200);
        assert_eq!(restore().await.expect(200).data()["quantity"], json!(0));
        agrees(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_one_another_in_every_order_and_what_never_expires_comes_last() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (path, other) = (item(&app, &tenant, "A").await, item(&app, &tenant, "B").await);
        for (code, day) in [("1", Some("05")), ("2", None), ("3", Some("03")), ("4", Some("03")), ("5", None)] {
            let mut body = json!({ "quantity": 1 });
            if let Some(day) = day {
                body["expiresAt"] = json!(format!("2026-12-{day}T00:00:00Z"));
            }
            batch(&app, &tenant, &path, code, body).await;
        }
        batch(&app, &tenant, &other, "9", json!({ "quantity": 1 })).await;
        let of_item = format!("itemId={}", id(&path));
        for (query, wanted) in [
            ("sort=expiresAt", "34125"),
            ("sort=-expiresAt", "14352"),
            ("sort=code", "12345"),
            ("sort=-code", "54321"),
            ("sort=-quantity", "54321"),
            ("", "12345"),
            ("sort=expiresAt&expiresBefore=2026-12-04T00:00:00Z", "34"),
            ("qcState=passed", ""),
            ("code=4", "4"),
        ] {
            let (mut seen, mut cursor) = (String::new(), String::new());
            loop {
                let page = read(&app, &tenant, &format!("{BATCHES}?limit=2&{of_item}&{query}{cursor}")).await;
                for found in page["items"].as_array().expect("items") {
                    seen.push_str(found["code"].as_str().expect("a code"));
                }
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(seen, wanted, "{query}");
        }
        let csv = app.get("/api/inventory/export/batches?format=csv").token(&tenant.admin_token).send().await;
        assert_eq!(csv.expect(200).text().lines().count(), 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_takes_no_units_that_are_in_batches() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let place = batch(&app, &tenant, &path, "L", json!({ "quantity": 10 })).await;
        let adjust = async |delta: i64, reason: &str| {
            post(&app, &tenant, &format!("{path}/adjust"), json!({ "delta": delta, "reason": reason })).await
        };
        adjust(4, "received").await.expect(200);
        let before = app.digest(&tenant).await;
        for reason in ["sold", "damaged", "counted"] {
            let refused = adjust(-5, reason).await.expect(409);
            assert_eq!(refused.code(), "inventory.insufficient_stock", "{reason}");
        }
        assert_eq!(app.digest(&tenant).await, before);
        adjust(-4, "sold").await.expect(200);
        adjust(-1, "sold").await.expect(409);
        post(&app, &tenant, &format!("{place}/consume"), json!({ "quantity": 10 })).await.expect(200);
        assert_eq!(quantity(&app, &tenant, &path).await, json!(0));
        agrees(&app).await;
    }
}
