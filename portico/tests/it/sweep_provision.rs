//! How the sweep tries quotas and making a tenant. Not a test by itself: see `sweep`.

use http::Method;
use serde_json::json;
use testkit::{Attempt, Sweep, TestApp, TestTenant};

/// A quota of the owner's.
const QUOTA: &str = "sentinel-7f3a.quota";

fn quotas(owner: &TestTenant) -> String {
    format!("/api/v1/tenants/{}/quotas", owner.id)
}

async fn set_quota(app: &TestApp, owner: &TestTenant) {
    let put = app.request(Method::PUT, &quotas(owner)).token(&app.superadmin(owner));
    put.header("x-audit-reason", "the sweep").json(&json!({ "quotas": { QUOTA: 5 } })).send().await.expect(200);
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .operation("tenants_get_quotas", |app, owner| {
            Box::pin(async move {
                set_quota(app, owner).await;
                Attempt::at(quotas(owner)).shows(QUOTA)
            })
        })
        .operation_as_superadmin("tenants_replace_quotas", |_, owner| {
            Box::pin(async move {
                let body = json!({ "quotas": { QUOTA: 6 } });
                Attempt::at(quotas(owner)).body(body).shows(QUOTA).forbidden()
            })
        })
        // Nobody works on tasks here, so it is not finished.
        .operation_as_superadmin("tenants_provision_tenant", |_, _| {
            Box::pin(async move {
                let slug = format!("t{}", &kernel::TenantId::new().to_string()[4..]);
                let body = json!({ "slug": slug, "name": "Farm", "admin": { "email": "ada@example.org" } });
                Attempt::at("/api/v1/tenants/provision").body(body).status(202).shows("running").forbidden()
            })
        })
}
