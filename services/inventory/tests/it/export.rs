//! Exports: whole, in order, once, and for whom they are.

use http::Method;
use serde_json::Value;

use crate::{ITEMS, apps, item};

const EXPORT: &str = "/api/inventory/export/inventory";
const LOGS: &str = "/api/inventory/export/logs";

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_several_pages_has_every_row_once() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("other").await);
        item(&app, &tenant, "A").await;
        item(&app, &other, "not-mine").await;
        // More than two pages, as the first is short.
        let rows: String = (1..=650).map(|delta| format!("A,{delta},received,{}\n", "n".repeat(480))).collect();
        let import = app.post("/api/inventory/import?kind=movements").token(&tenant.admin_token);
        let import = import.header("content-type", "text/csv").bytes(format!("sku,delta,reason,note\n{rows}"));
        import.send().await.expect(202);
        app.settle().await;
        let answer = app.get(LOGS).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(answer.header("cache-control"), "no-store");
        let lines = answer.data();
        let deltas: Vec<i64> =
            lines.as_array().expect("lines").iter().map(|line| line["delta"].as_i64().expect("a delta")).collect();
        assert_eq!(deltas, (1..=650).collect::<Vec<i64>>());
        let csv = app.get(&format!("{LOGS}?format=csv")).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(csv.header("cache-control"), "no-store");
        assert_eq!(csv.header("content-disposition"), "attachment; filename=\"movements.csv\"");
        let text = csv.text();
        let mut lines = text.lines();
        let head = "id,itemId,sku,delta,reason,note,occurredAt,batchId,amount,reference,reverses,createdAt,createdBy";
        assert_eq!(lines.next(), Some(head));
        let deltas: Vec<i64> =
            lines.map(|line| line.split(',').nth(3).expect("a cell").parse().expect("a number")).collect();
        assert_eq!(deltas, (1..=650).collect::<Vec<i64>>());
        assert!(!text.contains("not-mine"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_only_exported_on_request_and_by_whom_may_see_it() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        item(&app, &tenant, "A").await;
        let gone = item(&app, &tenant, "B").await;
        app.request(Method::DELETE, &gone).token(&tenant.staff_token).send().await.expect(200);
        let skus = |all: Value| -> Vec<String> {
            all.as_array().expect("items").iter().map(|item| item["sku"].as_str().expect("a SKU").to_owned()).collect()
        };
        let live = app.get(EXPORT).token(&tenant.admin_token).send().await.expect(200).data();
        assert_eq!(skus(live), ["A"]);
        let all = app.get(&format!("{EXPORT}?includeDeleted=true")).token(&tenant.admin_token).send().await.expect(200);
        assert_eq!(skus(all.data()), ["A", "B"]);
        let csv = format!("{EXPORT}?includeDeleted=true&format=csv");
        let csv = app.get(&csv).token(&tenant.admin_token).send().await.expect(200).text();
        let lines: Vec<&str> = csv.lines().collect();
        assert!(lines[0].ends_with(",deletedAt") && lines[1].ends_with(',') && lines[2].ends_with('Z'), "{csv}");
        let token = app.token_without(&tenant, "inventory.items.restore");
        app.get(&format!("{EXPORT}?includeDeleted=true")).token(&token).send().await.expect(403);
        // What was deleted stays so where it is imported.
        let other = app.tenant("other").await;
        let import = app.post("/api/inventory/import").token(&other.admin_token).header("content-type", "text/csv");
        import.bytes(csv).send().await.expect(202);
        app.settle().await;
        let there = app.get(ITEMS).token(&other.admin_token).send().await.expect(200).data();
        assert_eq!(skus(there["items"].clone()), ["A"]);
    }
}
