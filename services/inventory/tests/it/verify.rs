//! Stock against its ledger, as whoever runs the installation sees it.

use serde_json::{Value, json};
use testkit::TestApp;

use crate::{apps, item};

async fn verified(app: &TestApp) -> Value {
    app.get(inventory::LEDGER).token(app.operator_token()).send().await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_was_changed_behind_the_ledger_is_found() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        for sku in ["A", "B"] {
            let path = item(&app, &tenant, sku).await;
            let body = json!({ "delta": 7, "reason": "received" });
            app.post(&format!("{path}/adjust")).token(&tenant.staff_token).json(&body).send().await.expect(200);
        }
        let sound = verified(&app).await;
        assert_eq!((&sound["items"], &sound["movements"], &sound["drift"]), (&json!(2), &json!(2), &json!([])));
        app.execute("UPDATE inventory_item SET quantity = 8, reserved = 1 WHERE sku = 'B'").await;
        let drift = verified(&app).await["drift"].clone();
        let of = |what: &str, kept: i64, lines: i64| {
            json!({ "tenantId": tenant.id, "what": what, "name": "B", "kept": kept, "lines": lines })
        };
        assert_eq!(drift, json!([of("item.quantity", 8, 7), of("item.reserved", 1, 0)]));
        app.get(inventory::LEDGER).token(&tenant.admin_token).send().await.expect(401);
    }
}
