//! A superadmin inside a tenant says why; nobody else has to.

use kernel::{Actor, UserId};
use testkit::{TestApp, TestTenant};
use web::Principal;

use crate::app;

const REASON: &str = "ticket 7: Bestand prüfen";

fn superadmin(app: &TestApp, tenant: &TestTenant, user: UserId) -> String {
    let elevated = Some("ticket 7".into());
    app.mint(Principal { actor: Actor::Superadmin(user), elevated, ..app.principal(tenant) })
}

#[tokio::test]
async fn a_superadmins_change_needs_a_reason_and_carries_it() {
    let app = app().await;
    let tenant = app.tenant("farm").await;
    let user = UserId::new();
    let token = superadmin(&app, &tenant, user);
    let change = || app.post("/api/probe").token(&token);
    assert_eq!(change().send().await.expect(400).code(), "request.reason_required");
    for reason in ["", "ab", "   ", &"x".repeat(501), "tab\there"] {
        let answer = change().header("x-audit-reason", reason).send().await.expect(400);
        assert_eq!(answer.code(), "request.reason_required", "{reason:?}");
    }
    let twice = change().header("x-audit-reason", REASON).header("x-audit-reason", REASON);
    twice.send().await.expect(400);
    let told = change().header("x-audit-reason", REASON).send().await.expect(200).json();
    assert_eq!((&told["reason"], &told["actor"]), (&REASON.into(), &format!("superadmin:{user}").into()));
}

#[tokio::test]
async fn a_superadmins_read_goes_without_and_carries_the_sessions_reason() {
    let app = app().await;
    let tenant = app.tenant("farm").await;
    let token = superadmin(&app, &tenant, UserId::new());
    let read = || app.get("/api/probe").token(&token);
    assert_eq!(read().send().await.expect(200).json()["reason"], "ticket 7");
    assert_eq!(read().header("x-audit-reason", REASON).send().await.expect(200).json()["reason"], REASON);
    read().header("x-audit-reason", "no").send().await.expect(400);
}

#[tokio::test]
async fn nobody_else_is_asked_for_a_reason_or_has_one() {
    let app = app().await;
    let tenant = app.tenant("farm").await;
    let change = || app.post("/api/probe").token(&tenant.staff_token);
    assert!(change().send().await.expect(200).json()["reason"].is_null());
    assert!(change().header("x-audit-reason", REASON).send().await.expect(200).json()["reason"].is_null());
    change().header("x-audit-reason", "no").send().await.expect(200);
}
