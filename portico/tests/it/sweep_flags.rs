//! How the sweep tries the flags of tenants and of the platform. Not a test by itself: see `sweep`.

use http::Method;
use testkit::{Attempt, Sweep, TestApp, TestTenant};

/// A flag of the owner's.
const FLAG: &str = "sentinel-7f3a.flag";
/// A flag of the platform, which every tenant may know of.
const PLATFORM: &str = "sentinel-7f3a.everybody";

async fn set_flag(app: &TestApp, owner: &TestTenant) {
    app.post(&format!("/api/features/{FLAG}/enable")).token(&owner.admin_token).send().await.expect(200);
}

/// Returns the path of the platform's flag.
fn platform(verb: &str) -> String {
    format!("/api/v1/platform/features/{PLATFORM}{verb}")
}

async fn set_platform_flag(app: &TestApp, owner: &TestTenant) {
    let enable = app.request(Method::POST, &platform("/enable")).token(&app.superadmin(owner));
    enable.header("x-audit-reason", "the sweep").send().await.expect(200);
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .operation("flags_list_flags", |app, owner| {
            Box::pin(async move {
                set_flag(app, owner).await;
                Attempt::at("/api/features").shows(FLAG).own()
            })
        })
        .operation("flags_enable_flag", |_, _| {
            Box::pin(async move { Attempt::at("/api/features/of.whoever.turns.it/enable").own() })
        })
        .operation("flags_disable_flag", |_, _| {
            Box::pin(async move { Attempt::at("/api/features/of.whoever.turns.it/disable").own() })
        })
        .operation_as_superadmin("flags_list_platform_flags", |app, owner| {
            Box::pin(async move {
                set_platform_flag(app, owner).await;
                Attempt::at("/api/v1/platform/features").shows(PLATFORM).forbidden()
            })
        })
        .operation_as_superadmin("flags_enable_platform_flag", |_, _| {
            Box::pin(async move { Attempt::at(platform("/enable")).shows(PLATFORM).forbidden() })
        })
        .operation_as_superadmin("flags_disable_platform_flag", |_, _| {
            Box::pin(async move { Attempt::at(platform("/disable")).shows(PLATFORM).forbidden() })
        })
        .operation_as_superadmin("flags_withdraw_platform_flag", |app, owner| {
            Box::pin(async move {
                set_platform_flag(app, owner).await;
                Attempt::at(platform("")).shows(PLATFORM).forbidden()
            })
        })
}
