//! The inventory and its analytics together: that what one writes is what the other counts, and the
//! overview that shows both. Not for single figures, which are tested in the service.

use http::Method;
use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

const SUMMARY: &str = "/api/analytics/inventory/summary";
const TRENDING: &str = "/api/analytics/inventory/trending";
const TOP: &str = "/api/analytics/inventory/top";
const OVERVIEW: &str = "/api/inventory/overview";

async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![inventory::service(), analytics::service()], Default::default()).await);
    }
    apps
}

async fn create(app: &TestApp, tenant: &TestTenant, body: Value) -> String {
    let made = app.post("/api/inventory").token(&tenant.staff_token).json(&body).send().await.expect(201);
    made.header("location").to_owned()
}

async fn adjust(app: &TestApp, tenant: &TestTenant, item: &str, body: Value) {
    app.post(&format!("{item}/adjust")).token(&tenant.staff_token).json(&body).send().await.expect(200);
}

async fn get(app: &TestApp, tenant: &TestTenant, path: &str) -> Value {
    app.get(path).token(&tenant.viewer_token).send().await.expect(200).data()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_inventory_writes_is_what_analytics_counts() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let feed = json!({ "sku": "FEED", "name": "Feed", "unit": "kg", "unitCost": 250, "lowStockLevel": 70 });
        let feed = create(&app, &tenant, feed).await;
        let salt = create(&app, &tenant, json!({ "sku": "SALT", "name": "Salt" })).await;
        adjust(&app, &tenant, &feed, json!({ "delta": 100, "reason": "opening" })).await;
        let sold = json!({ "delta": -30, "reason": "sold", "amount": 9_000, "occurredAt": "2026-11-19T23:59:59Z" });
        adjust(&app, &tenant, &feed, sold).await;
        adjust(&app, &tenant, &feed, json!({ "delta": -5, "reason": "consumed" })).await;
        adjust(&app, &tenant, &salt, json!({ "delta": 8, "reason": "received" })).await;
        let changed = app.request(Method::PUT, &salt).token(&tenant.staff_token).json(&json!({ "name": "Rock salt" }));
        changed.send().await.expect(200);
        app.settle().await;
        let summary = get(&app, &tenant, SUMMARY).await;
        let figures = [
            ("items", 2),
            ("liveItems", 2),
            ("outOfStock", 0),
            ("short", 1),
            ("deadStock", 1),
            ("unitsOnHand", 65 + 8),
            ("stockValue", 65 * 250),
            ("itemsWithoutCost", 1),
            ("movements", 4),
            ("unitsIn", 8),
            ("unitsOut", 35),
            ("unitsCorrected", 100),
            ("amountOut", 9_000),
            ("unitsOutWithoutAmount", 5),
        ];
        for (name, wanted) in figures {
            assert_eq!(summary[name], wanted, "{name} of {summary}");
        }
        assert_eq!(summary["asOf"]["lagging"], false);
        // The day is that on which it happened.
        assert_eq!(get(&app, &tenant, &format!("{SUMMARY}?from=2026-11-19&to=2026-11-19")).await["unitsOut"], 30);
        let top = get(&app, &tenant, TOP).await;
        let first = &top["items"][0];
        assert_eq!((&first["sku"], &first["unit"], &first["unitsOut"]), (&json!("FEED"), &json!("kg"), &json!(35)));
        assert_eq!((&first["itemId"], &first["share"]), (&json!(feed.rsplit('/').next()), &json!(1.0)));
        let trending = get(&app, &tenant, TRENDING).await;
        assert_eq!(trending["items"].as_array().map(Vec::len), Some(1), "{trending}");

        let path = format!("{feed}?force=true");
        app.request(Method::DELETE, &path).token(&tenant.staff_token).send().await.expect(200);
        app.settle().await;
        let without = get(&app, &tenant, SUMMARY).await;
        assert_eq!(
            (&without["liveItems"], &without["unitsOnHand"], &without["unitsOut"]),
            (&json!(1), &json!(8), &json!(35))
        );
        assert_eq!(get(&app, &tenant, TOP).await["items"][0]["deleted"], true);
        app.post(&format!("{feed}/restore")).token(&tenant.admin_token).send().await.expect(200);
        app.settle().await;
        assert_eq!(get(&app, &tenant, SUMMARY).await["stockValue"], 65 * 250);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_what_is_there_now_beside_what_analytics_knows() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let feed = create(&app, &tenant, json!({ "sku": "FEED", "name": "Feed", "lowStockLevel": 5 })).await;
        create(&app, &tenant, json!({ "sku": "SALT", "name": "Salt" })).await;
        adjust(&app, &tenant, &feed, json!({ "delta": 4, "reason": "opening" })).await;
        let before = get(&app, &tenant, OVERVIEW).await;
        assert_eq!((&before["items"], &before["short"], &before["outOfStock"]), (&json!(2), &json!(1), &json!(1)));
        assert_eq!((&before["analytics"]["data"]["items"], &before["analytics"]["stale"]), (&json!(0), &json!(false)));
        app.settle().await;
        let after = get(&app, &tenant, OVERVIEW).await;
        assert_eq!(after["analytics"]["data"], get(&app, &tenant, SUMMARY).await);
        assert_eq!(after["analytics"]["data"]["items"], 2);
        let others = get(&app, &other, OVERVIEW).await;
        assert_eq!((&others["items"], &others["analytics"]["data"]["items"]), (&json!(0), &json!(0)));

        app.get(&format!("{OVERVIEW}?limit=1")).token(&tenant.viewer_token).send().await.expect(400);
        let without = app.token_without(&tenant, "analytics.inventory.read");
        let refused = app.get(OVERVIEW).token(&without).send().await.expect(403);
        assert!(refused.text().contains("analytics.inventory.read"), "{}", refused.text());
        let without = app.token_without(&tenant, "inventory.items.read");
        app.get(OVERVIEW).token(&without).send().await.expect(403);
        // The word is no item's id, and an item is still found.
        assert_eq!(get(&app, &tenant, &feed).await["sku"], "FEED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_analytics_the_overview_says_so_and_the_rest_works() {
    let app = TestApp::sqlite(vec![inventory::service()]).await;
    let tenant = app.tenant("farm").await;
    let mut permissions: Vec<String> = app.principal(&tenant).permissions.iter().map(str::to_owned).collect();
    permissions.push("analytics.inventory.read".to_owned());
    let permissions = kernel::PermissionSet::new(permissions);
    let token = app.mint(web::Principal { permissions, ..app.principal(&tenant) });
    assert_eq!(app.get(OVERVIEW).token(&token).send().await.expect(503).code(), "peer.away");
    app.get("/api/inventory").token(&token).send().await.expect(200);
}
