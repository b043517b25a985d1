//! A service with one permission a role, for trying what a credential may do.

use axum::extract::State;
use kernel::Answer;
use serde_json::json;
use service::{App, Audience, EventType, Operation, PermissionType, Role, Service};
use store::Event;
use web::Caller;

pub fn service() -> Service {
    let permission = |name, role| PermissionType { name, role, summary: "" };
    let added = "things.thing.added";
    Service::new("things", "For trying permissions")
        .routes([
            Operation::get("/things", "things_list", list).permission("things.read"),
            Operation::post("/things", "things_add", add).permission("things.write"),
        ])
        .permissions([
            permission("things.read", Role::Viewer),
            permission("things.write", Role::Staff),
            permission("things.export", Role::Admin),
        ])
        .events([EventType { name: added, audience: Audience::Staff, retention_days: None, summary: "" }])
}

async fn list(Caller(_): Caller) -> web::Result {
    Ok(Answer::ok(&json!([]))?.into())
}

async fn add(State(app): State<App>, Caller(mut ctx): Caller) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    writer.record(Event::about("things.thing.added", "thing", json!({}))).await?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}
