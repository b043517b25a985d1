use std::sync::Arc;

use serde_json::{Value, json};

use crate::{apps, item, quantity};

#[tokio::test(flavor = "multi_thread")]
async fn item_ledger_and_event_change_together_or_not_at_all() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let adjust = |body: Value| app.post(&format!("{path}/adjust")).token(&tenant.staff_token).json(&body).send();
        let moved = adjust(json!({ "delta": 10, "reason": "received", "note": "first" })).await.expect(200);
        assert_eq!((&moved.data()["item"]["quantity"], moved.header("etag")), (&json!(10), "\"v2\""));
        let before = app.digest(&tenant).await;
        let short = adjust(json!({ "delta": -11, "reason": "sold" })).await.expect(409);
        assert_eq!(short.code(), "inventory.insufficient_stock");
        let huge = json!({ "delta": 1_000_000_000_000_000_i64, "reason": "received" });
        for wrong in [json!({ "delta": 0, "reason": "sold" }), json!({ "delta": i64::MIN, "reason": "sold" })] {
            adjust(wrong).await.expect(400);
        }
        assert_eq!(app.digest(&tenant).await, before, "a refused adjustment changes nothing");
        for _ in 0..8 {
            adjust(huge.clone()).await.expect(200);
        }
        assert_eq!(adjust(huge).await.expect(409).code(), "inventory.quantity_out_of_range");
        let logs =
            app.get(&format!("{path}/logs?limit=200")).token(&tenant.staff_token).send().await.expect(200).data();
        let sum: i64 = logs["items"].as_array().expect("lines").iter().filter_map(|line| line["delta"].as_i64()).sum();
        assert_eq!(json!(sum), quantity(&app, &tenant, &path).await);
        app.relay().await;
        let events = "/api/events?type=inventory.item.adjusted&limit=200";
        let events = app.get(events).token(&tenant.staff_token).send().await.expect(200).data();
        assert_eq!(events["items"].as_array().map(Vec::len), logs["items"].as_array().map(Vec::len));
        assert_eq!(
            events["items"][0]["data"],
            json!({
                "delta": 10, "quantity": 10, "reason": "received", "sku": "A",
                "occurredAt": "2026-11-21T08:00:00.000000Z"
            })
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_take_from_one_item_never_take_more_than_there_is() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let adjust = format!("{path}/adjust");
        let opening = json!({ "delta": 50, "reason": "opening" });
        app.post(&adjust).token(&tenant.staff_token).json(&opening).send().await.expect(200);
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let (app, adjust, token) = (app.clone(), adjust.clone(), tenant.staff_token.clone());
                tokio::spawn(async move {
                    let mut taken = 0;
                    for _ in 0..5 {
                        let body = json!({ "delta": -1, "reason": "sold" });
                        let status = app.post(&adjust).token(&token).json(&body).send().await.status.as_u16();
                        assert!(matches!(status, 200 | 409), "{status}");
                        taken += i32::from(status == 200);
                    }
                    taken
                })
            })
            .collect();
        let mut taken = 0;
        for taker in takers {
            taken += taker.await.expect("a taker");
        }
        assert_eq!((taken, quantity(&app, &tenant, &path).await), (50, json!(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_has_one_effect_and_one_answer() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let send = |body: Value| {
            let (app, path, token) = (app.clone(), format!("{path}/adjust"), tenant.staff_token.clone());
            async move { app.post(&path).token(&token).header("idempotency-key", "k-1").json(&body).send().await }
        };
        let body = json!({ "delta": 3, "reason": "received" });
        let duplicates: Vec<_> = (0..8).map(|_| tokio::spawn(send(body.clone()))).collect();
        let mut answers = Vec::new();
        for duplicate in duplicates {
            answers.push(duplicate.await.expect("an answer").expect(200));
        }
        let first = &answers[0].data();
        assert!(answers.iter().all(|answer| answer.data() == *first), "all get the same answer");
        let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed") == "true").count();
        assert_eq!((replayed, quantity(&app, &tenant, &path).await), (7, json!(3)));
        let other = send(json!({ "delta": 4, "reason": "received" })).await.expect(422);
        assert_eq!(other.code(), "request.idempotency_key_reused");
    }
}
