//! How the sweep tries what the notifications service does. Not a test by itself: see `sweep`.

use kernel::{Answer, PermissionSet};
use serde_json::json;
use store::Event;
use testkit::{Attempt, Sweep, TestApp, TestTenant};

const NOTIFICATIONS: &str = "/api/notifications";
/// What no answer to anybody but the owner may show.
const ALERT: &str = "alert-of-the-owner-41c7";

/// Tells the owner's administrators something, and gives the notification's path.
async fn notification(app: &TestApp, owner: &TestTenant) -> String {
    let mut ctx = store::system_context(owner.id, PermissionSet::default());
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    let data = json!({ "title": ALERT, "message": "for the sweep" });
    writer.record(Event::about("system.alert.raised", "store", data)).await.expect("recorded");
    writer.commit(Answer::no_content()).await.expect("kept");
    app.settle().await;
    let page = app.get(NOTIFICATIONS).token(&owner.admin_token).send().await.expect(200).json();
    format!("{NOTIFICATIONS}/{}", page["items"][0]["id"].as_str().expect("an id"))
}

pub fn add(sweep: Sweep) -> Sweep {
    let stop = Attempt::at("/api/notifications/unsubscribe?token=x").status(400);
    sweep
        .operation("notifications_list_notifications", |app, owner| {
            Box::pin(async move {
                notification(app, owner).await;
                Attempt::at(NOTIFICATIONS).shows(ALERT).own()
            })
        })
        .operation("notifications_mark_read", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/mark-read", notification(app, owner).await)).shows(ALERT) })
        })
        .operation("notifications_put_read", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/read", notification(app, owner).await)).shows(ALERT) })
        })
        .operation("notifications_mark_all_read", |app, owner| {
            Box::pin(async move {
                notification(app, owner).await;
                Attempt::at("/api/notifications/mark-all-read").own()
            })
        })
        .plain("notifications_get_preferences", Attempt::at("/api/notifications/preferences").own())
        .plain(
            "notifications_change_preferences",
            Attempt::at("/api/notifications/preferences")
                .body(json!({ "preferences": [{ "type": "LOW_STOCK", "channel": "email", "enabled": false }] }))
                .own(),
        )
        .plain("notifications_get_policy", Attempt::at("/api/notifications/policy").own())
        .plain(
            "notifications_put_policy",
            Attempt::at("/api/notifications/policy").body(json!({ "largeAdjustmentThreshold": 50 })).own(),
        )
        // A request in memory cannot become a WebSocket; the service's own tests open it.
        .plain("notifications_open_socket", Attempt::at("/api/notifications/ws").status(426).own())
        .plain("notifications_ask_to_unsubscribe", stop.clone())
        .plain("notifications_unsubscribe", stop)
}
