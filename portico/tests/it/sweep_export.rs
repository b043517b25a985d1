//! How the sweep tries exports and imports. Not a test by itself: see `sweep`.

use serde_json::{Value, json};
use testkit::{Attempt, Sweep, TestApp, TestTenant};

use crate::sweep::{SENTINEL, item};

/// Sends a file of the owner's with a row that is wrong, and returns the path of the import.
async fn import(app: &TestApp, owner: &TestTenant) -> String {
    let rows = json!([{ "sku": kernel::TenantId::new().to_string(), "name": "x", SENTINEL: 1 }]);
    let taken = app.post("/api/inventory/import").token(&owner.admin_token).json(&rows).send().await.expect(202);
    let id = taken.data()["importId"].clone();
    format!("/api/inventory/imports/{}", id.as_str().expect("an id"))
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .operation("inventory_export_movements", |app, owner| {
            Box::pin(async move {
                item(app, owner).await;
                Attempt::at("/api/inventory/export/logs").shows(SENTINEL).own()
            })
        })
        .operation("inventory_import", |_, _| {
            Box::pin(async move {
                let rows: Value = json!([{ "sku": kernel::TenantId::new().to_string(), "name": "x" }]);
                Attempt::at("/api/inventory/import").body(rows).status(202).own()
            })
        })
        .operation("inventory_get_import", |app, owner| Box::pin(async move { Attempt::at(import(app, owner).await) }))
        .operation("inventory_list_import_errors", |app, owner| {
            Box::pin(async move {
                let import = import(app, owner).await;
                app.engine().run_until_idle().await.expect("the queue can be read");
                Attempt::at(format!("{import}/errors")).shows(SENTINEL)
            })
        })
}
