//! How the sweep tries the figures over the inventory. Not a test by itself: see `sweep`.

use events::Dispatcher;
use serde_json::json;
use testkit::{Attempt, Sweep, TestApp, TestTenant};

use crate::sweep::{SENTINEL, item};

/// Leaves an item of the owner's that something went out of.
async fn demanded(app: &TestApp, owner: &TestTenant) {
    let path = item(app, owner).await;
    let body = json!({ "delta": -1, "reason": "sold" });
    app.post(&format!("{path}/adjust")).token(&owner.admin_token).json(&body).send().await.expect(200);
    app.relay().await;
    // Only these: what else follows the log is no business of these operations.
    let dispatcher = Dispatcher::new(app.store().clone(), analytics::service().subscriptions);
    dispatcher.run_until_idle().await.expect("the log can be read");
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .plain("analytics_get_inventory_summary", Attempt::at("/api/analytics/inventory/summary").own())
        .operation("analytics_list_trending_items", |app, owner| {
            Box::pin(async move {
                demanded(app, owner).await;
                Attempt::at("/api/analytics/inventory/trending?limit=100").shows(SENTINEL).own()
            })
        })
        .operation("analytics_list_top_items", |app, owner| {
            Box::pin(async move {
                demanded(app, owner).await;
                Attempt::at("/api/analytics/inventory/top?limit=100").shows(SENTINEL).own()
            })
        })
        .plain("inventory_get_overview", Attempt::at("/api/inventory/overview").own())
}
