use http::Method;
use serde_json::json;

use crate::{ITEMS, apps, item};

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_one_another_in_either_order_and_miss_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        for number in 0..7 {
            item(&app, &tenant, &format!("SKU-{number}")).await;
        }
        for (sort, first) in [("sku", "SKU-0"), ("-sku", "SKU-6"), ("createdAt", "SKU-0"), ("-quantity", "SKU-6")] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("{ITEMS}?limit=3&sort={sort}{cursor}");
                let page = app.get(&path).token(&tenant.viewer_token).send().await.expect(200).data();
                let items = page["items"].as_array().expect("items");
                seen.extend(items.iter().map(|item| item["sku"].as_str().expect("a SKU").to_owned()));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(seen.first().map(String::as_str), Some(first), "{sort}");
            let unique: std::collections::BTreeSet<_> = seen.iter().collect();
            assert_eq!((seen.len(), unique.len()), (7, 7), "{sort}: {seen:?}");
        }
        let found = app.get("/api/inventory?sku=SKU-3").token(&tenant.viewer_token).send().await.expect(200).data();
        assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_guards_a_change_and_saves_a_download() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        let put = || app.request(Method::PUT, &path).token(&tenant.staff_token);
        let first = app.get(&path).token(&tenant.viewer_token).send().await.expect(200);
        assert_eq!(first.header("etag"), "\"v1\"");
        let again =
            app.get(&path).token(&tenant.viewer_token).header("if-none-match", "\"v1\"").send().await.expect(304);
        assert!(again.body.is_empty());
        put().header("if-match", "\"v1\"").json(&json!({ "name": "Renamed" })).send().await.expect(200);
        let before = app.digest(&tenant).await;
        let stale = put().header("if-match", "\"v1\"").json(&json!({ "name": "Lost update" })).send().await.expect(412);
        assert_eq!(stale.code(), "request.version_mismatch");
        put().header("if-match", "W/\"v2\"").json(&json!({ "name": "Weak" })).send().await.expect(412);
        assert_eq!(app.digest(&tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_item_is_hidden_frees_its_sku_and_comes_back_when_it_can() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let path = item(&app, &tenant, "A").await;
        app.request(Method::DELETE, &path).token(&tenant.staff_token).send().await.expect(200);
        app.get(&path).token(&tenant.viewer_token).send().await.expect(404);
        app.request(Method::DELETE, &path).token(&tenant.staff_token).send().await.expect(404);
        let with_deleted = "/api/inventory?includeDeleted=true";
        app.get(with_deleted).token(&tenant.viewer_token).send().await.expect(403);
        let all = app.get(with_deleted).token(&tenant.admin_token).send().await.expect(200).data();
        assert!(all["items"][0]["deletedAt"].is_string(), "{all}");
        let second = item(&app, &tenant, "A").await;
        let restore = format!("{path}/restore");
        let clash = app.post(&restore).token(&tenant.admin_token).send().await.expect(409);
        assert_eq!(clash.code(), "inventory.sku_taken");
        app.request(Method::DELETE, &second).token(&tenant.staff_token).send().await.expect(200);
        app.post(&restore).token(&tenant.admin_token).send().await.expect(200);
        app.get(&path).token(&tenant.viewer_token).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_item_once_and_leaves_an_audit_event() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        for number in 0..12 {
            item(&app, &tenant, &format!("={number}")).await;
        }
        let export = "/api/inventory/export/inventory";
        let csv = app.get(&format!("{export}?format=csv")).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
        let lines: Vec<String> = csv.text().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 13);
        assert!(lines[1].contains(",'=0,"), "a formula is made harmless: {}", lines[1]);
        let json = app.get(export).token(&tenant.admin_token).send().await.expect(200).data();
        assert_eq!(json.as_array().map(Vec::len), Some(12));
        app.get(&format!("{export}?format=xml")).token(&tenant.admin_token).send().await.expect(400);
        app.relay().await;
        let audit = "/api/events?type=audit.export";
        let events = app.get(audit).token(&tenant.admin_token).send().await.expect(200).data();
        assert_eq!(events["items"].as_array().map(Vec::len), Some(2));
        let hidden = app.get(audit).token(&tenant.staff_token).send().await.expect(200).data();
        assert_eq!(hidden["items"], json!([]), "the audit trail is for administrators");
    }
}
