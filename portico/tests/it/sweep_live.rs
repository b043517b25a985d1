//! How the sweep tries what browsers and live connections need. Not a test by itself: see `sweep`.

use serde_json::json;
use testkit::{Attempt, Sweep, TestApp};

use crate::sweep::{SENTINEL, item};

const STREAM: &str = "/api/events/stream";

/// Returns the id of the log's beginning, so that a stream begins with all that is there.
async fn beginning(app: &TestApp) -> String {
    let epoch = store::log_state(app.store()).await.expect("a log").epoch;
    format!("{epoch}.0")
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .operation("events_stream_events", |app, owner| {
            Box::pin(async move {
                item(app, owner).await;
                let path = format!("{STREAM}?types=inventory.item.created&lastEventId={}", beginning(app).await);
                Attempt::at(path).shows(SENTINEL).own()
            })
        })
        .plain("identity_create_ticket", {
            Attempt::at("/api/auth/tickets").body(json!({ "path": STREAM })).status(201).own()
        })
        .plain("identity_set_cookie", Attempt::at("/api/auth/cookie").own())
        .plain("identity_clear_cookie", Attempt::at("/api/auth/cookie").status(204).own())
}
