use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

use crate::{apps, item};

async fn adjust(app: &TestApp, tenant: &TestTenant, path: &str, delta: i64) {
    let body = json!({ "delta": delta, "reason": if delta < 0 { "sold" } else { "received" } });
    app.post(&format!("{path}/adjust")).token(&tenant.staff_token).json(&body).send().await.expect(200);
}

async fn level(app: &TestApp, tenant: &TestTenant, path: &str, level: i64) {
    let body = json!({ "lowStockLevel": level });
    app.request(Method::PUT, path).token(&tenant.staff_token).json(&body).send().await.expect(200);
}

/// Returns what the events say that the item has become short.
async fn told(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    app.relay().await;
    let events = app.get("/api/events?type=inventory.item.low_stock").token(&tenant.staff_token).send().await;
    let page = events.expect(200).data();
    page["items"].as_array().expect("events").iter().map(|event| event["data"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_becomes_short_once_until_its_stock_was_clearly_above_the_level() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        level(&app, &tenant, &path, 20).await;
        adjust(&app, &tenant, &path, 5).await;
        assert_eq!(told(&app, &tenant).await, Vec::<Value>::new(), "what comes in makes nothing short");
        adjust(&app, &tenant, &path, 25).await;
        adjust(&app, &tenant, &path, -9).await;
        assert_eq!(told(&app, &tenant).await, Vec::<Value>::new(), "21 are above the level");
        adjust(&app, &tenant, &path, -1).await;
        let first = told(&app, &tenant).await;
        let wanted = json!({
            "sku": "A", "name": "Item A", "unit": "piece", "quantity": 20, "available": 20,
            "lowStockLevel": 20,
            "crossing": first[0]["crossing"],
        });
        assert_eq!(first, [wanted]);
        // Up to 22, which is the level and a tenth of it, and down again: still the same shortage.
        for delta in [-5, 7, -4] {
            adjust(&app, &tenant, &path, delta).await;
        }
        assert_eq!(told(&app, &tenant).await.len(), 1);
        for delta in [5, -3] {
            adjust(&app, &tenant, &path, delta).await;
        }
        let both = told(&app, &tenant).await;
        assert_eq!((both.len(), &both[1]["quantity"]), (2, &json!(20)));
        assert_ne!(both[0]["crossing"], both[1]["crossing"], "each shortage has a number of its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_levels_need_one_more_and_a_raised_level_tells_with_the_next_removal() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        adjust(&app, &tenant, &path, 6).await;
        adjust(&app, &tenant, &path, -1).await;
        assert_eq!(told(&app, &tenant).await.len(), 0, "no level, no shortage");
        level(&app, &tenant, &path, 5).await;
        assert_eq!(told(&app, &tenant).await.len(), 0);
        adjust(&app, &tenant, &path, -1).await;
        assert_eq!(told(&app, &tenant).await.len(), 1);
        for delta in [2, -2] {
            adjust(&app, &tenant, &path, delta).await;
        }
        assert_eq!(told(&app, &tenant).await.len(), 1, "6 is one above 5, not more");
        for delta in [3, -2] {
            adjust(&app, &tenant, &path, delta).await;
        }
        assert_eq!(told(&app, &tenant).await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_take_at_once_make_it_short_once() {
    for app in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        level(&app, &tenant, &path, 10).await;
        adjust(&app, &tenant, &path, 20).await;
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let (app, path, tenant) = (app.clone(), path.clone(), tenant.clone());
                tokio::spawn(async move { adjust(&app, &tenant, &path, -1).await })
            })
            .collect();
        for taker in takers {
            taker.await.expect("taken");
        }
        assert_eq!(told(&app, &tenant).await.len(), 1);
    }
}
