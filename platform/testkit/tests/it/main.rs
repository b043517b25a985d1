//! What the platform does around every handler, through the door: one file per promise, found by
//! itself, over a service that says what it was told.

automod::dir!("tests/it");

use axum::Extension;
use kernel::Answer;
use serde_json::json;
use service::{Access, Operation, Role, Service};
use testkit::TestApp;
use web::{Caller, Client};

const PERMISSION: &str = "probe.things.write";

/// What the service is given beside its requests.
#[derive(Clone)]
struct Setting(&'static str);

async fn told(Extension(setting): Extension<Setting>, Client(client): Client, Caller(ctx): Caller) -> web::Result {
    let body = json!({
        "actor": ctx.actor().to_string(),
        "reason": ctx.reason(),
        "client": client,
        "setting": setting.0,
    });
    Ok(Answer::ok(&body)?.into())
}

async fn app() -> TestApp {
    let may = service::PermissionType { name: PERMISSION, role: Role::Staff, summary: "Changes things" };
    let service = Service::new("probe", "Says what it was told")
        .permissions([may])
        .extension(Setting("first"))
        .extension(7_u32)
        .routes([
            Operation::get("/api/probe", "probe_get_told", told),
            Operation::post("/api/probe", "probe_tell", told).permission(PERMISSION),
            Operation::post("/api/probe/session", "probe_tell_session", told).access(Access::Session),
        ]);
    TestApp::sqlite(vec![service]).await
}
