//! Counts, policies below zero, deleting what is in stock. Not for the plain delta: see `adjust`.

use http::Method;
use serde_json::{Value, json};
use testkit::{TestApp, TestTenant};

use crate::{apps, item, quantity};

async fn adjust(app: &TestApp, tenant: &TestTenant, path: &str, body: Value) -> testkit::TestResponse {
    app.post(&format!("{path}/adjust")).token(&tenant.staff_token).json(&body).send().await
}

async fn policy(app: &TestApp, tenant: &TestTenant, policy: &str) {
    let put = app.request(Method::PUT, "/api/inventory/settings").token(&tenant.admin_token);
    put.json(&json!({ "negativeStock": policy })).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_needs_the_version_that_it_was_made_against() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        adjust(&app, &tenant, &path, json!({ "delta": 10, "reason": "received" })).await.expect(200);
        let before = app.digest(&tenant).await;
        let blind = adjust(&app, &tenant, &path, json!({ "count": 7 })).await.expect(428);
        assert_eq!(blind.code(), "request.version_required");
        let counted = |version: &'static str, count: i64| {
            let request = app.post(&format!("{path}/adjust")).token(&tenant.staff_token).header("if-match", version);
            request.json(&json!({ "count": count, "note": "by hand" })).send()
        };
        counted("\"v1\"", 7).await.expect(412);
        assert_eq!(app.digest(&tenant).await, before, "what is refused changes nothing");
        let right = counted("\"v2\"", 10).await.expect(200).data();
        assert_eq!((&right["movement"], &right["item"]["version"]), (&json!(null), &json!(2)), "nothing to move");
        let done = counted("\"v2\"", 7).await.expect(200).data();
        assert_eq!(
            (&done["movement"]["delta"], &done["movement"]["reason"], &done["item"]["quantity"]),
            (&json!(-3), &json!("counted"), &json!(7))
        );
        for wrong in [
            json!({}),
            json!({ "delta": 1, "count": 1, "reason": "sold" }),
            json!({ "delta": 1 }),
            json!({ "delta": 1, "reason": "sold", "amount": -1 }),
            json!({ "delta": 1, "reason": "sold", "occurredAt": "2999-01-01T00:00:00Z" }),
            json!({ "count": -1 }),
        ] {
            adjust(&app, &tenant, &path, wrong).await.expect(400);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_falls_below_zero_only_where_the_tenant_or_the_item_allows_it() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let sold = |count: i64| json!({ "delta": -count, "reason": "sold" });
        let own = |policy: &'static str| {
            let put = app.request(Method::PUT, &path).token(&tenant.staff_token);
            put.json(&json!({ "negativeStock": policy })).send()
        };
        assert_eq!(adjust(&app, &tenant, &path, sold(1)).await.expect(409).code(), "inventory.insufficient_stock");
        policy(&app, &tenant, "allow").await;
        let done = adjust(&app, &tenant, &path, sold(1)).await.expect(200).data();
        assert_eq!((&done["item"]["quantity"], &done["warning"]), (&json!(-1), &json!(null)));
        policy(&app, &tenant, "warn").await;
        let done = adjust(&app, &tenant, &path, sold(1)).await.expect(200).data();
        assert_eq!(done["warning"], "there are -2 piece in stock now, and 0 reserved");
        own("deny").await.expect(200);
        adjust(&app, &tenant, &path, sold(1)).await.expect(409);
        policy(&app, &tenant, "deny").await;
        own("allow").await.expect(200);
        adjust(&app, &tenant, &path, sold(1)).await.expect(200);
        assert_eq!(quantity(&app, &tenant, &path).await, json!(-3));
        adjust(&app, &tenant, &path, json!({ "delta": 3, "reason": "counted" })).await.expect(200);
        let put = app.request(Method::PUT, "/api/inventory/settings").token(&tenant.admin_token);
        put.json(&json!({ "negativeStock": "sometimes" })).send().await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_stock_is_not_deleted_by_accident() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        adjust(&app, &tenant, &path, json!({ "delta": 2, "reason": "received" })).await.expect(200);
        let delete = |query: &str| {
            app.request(Method::DELETE, &format!("{path}{query}")).token(&tenant.staff_token).send()
        };
        let before = app.digest(&tenant).await;
        assert_eq!(delete("").await.expect(409).code(), "inventory.item_in_use");
        delete("?force=maybe").await.expect(400);
        assert_eq!(app.digest(&tenant).await, before);
        delete("?force=true").await.expect(200);
        delete("?force=true").await.expect(404);
        item(&app, &tenant, "A").await;
        let restore = || app.post(&format!("{path}/restore")).token(&tenant.admin_token).send();
        assert_eq!(restore().await.expect(409).code(), "inventory.sku_taken");
    }
}
