//! Keeps a tenant's people out, and lets them in again. The gateway hears of it by the event and
//! forgets the tenant's credentials; superadmins who have entered the tenant go on working, since
//! somebody has to look after it. Not for erasing.

use axum::extract::State;
use kernel::{TenantId, Text};
use serde::Deserialize;
use serde_json::json;
use service::{App, Operation};
use store::{TenantChange, TenantRecord};
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use crate::change::{self, Decision};
use crate::tenant::{Tenant, TenantState, answer};

/// Why a tenant is suspended or activated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeTenantState {
    /// Why; the tenant's administrators can read it.
    reason: Text<500>,
}

pub(crate) fn operations() -> [Operation; 2] {
    let again = "Doing it again answers with the tenant as it is and appends nothing, so the request is safe to repeat \
                 and an `Idempotency-Key` is not stored.";
    [
        Operation::post("/api/v1/tenants/{tenantId}/suspend", "tenants_suspend_tenant", suspend)
            .path::<TenantId>("tenantId")
            .permission("tenants.tenants.suspend")
            .describe(
                "Suspend a tenant",
                format!(
                    "For superadmins. From now on the tenant's sessions and API tokens get 403 `tenants.suspended`; \
                     nothing of them is lost. Writes `tenants.tenant.suspended` with the reason into the log of that \
                     tenant. Superadmins' sessions in the tenant go on working, the caller's own too. {again}"
                ),
            )
            .takes::<ChangeTenantState>()
            .gives::<Tenant>(200, "Suspended")
            .problems(&[400, 404, 409, 415]),
        Operation::post("/api/v1/tenants/{tenantId}/activate", "tenants_activate_tenant", activate)
            .path::<TenantId>("tenantId")
            .permission("tenants.tenants.suspend")
            .describe(
                "Activate a tenant",
                format!(
                    "For superadmins. Takes a suspension back: sessions and API tokens that have not run out work \
                     again. Writes `tenants.tenant.activated` with the reason into the log of that tenant. {again}"
                ),
            )
            .takes::<ChangeTenantState>()
            .gives::<Tenant>(200, "Active")
            .problems(&[400, 404, 409, 415]),
    ]
}

async fn suspend(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<TenantId>,
    Body(input): Body<ChangeTenantState>,
) -> web::Result {
    let decide =
        |tenant: &TenantRecord| become_state(tenant, TenantState::Suspended, "tenants.tenant.suspended", &input.reason);
    Ok(answer(change::change(&app, &ctx, id, None, decide).await?)?.into())
}

async fn activate(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<TenantId>,
    Body(input): Body<ChangeTenantState>,
) -> web::Result {
    let decide =
        |tenant: &TenantRecord| become_state(tenant, TenantState::Active, "tenants.tenant.activated", &input.reason);
    Ok(answer(change::change(&app, &ctx, id, None, decide).await?)?.into())
}

/// Returns what brings the tenant into the state, unless it is there.
fn become_state(
    tenant: &TenantRecord,
    state: TenantState,
    event: &'static str,
    reason: &Text<500>,
) -> Option<Decision> {
    (tenant.state != state.name()).then(|| Decision {
        change: TenantChange { state: Some(state.name()), ..TenantChange::default() },
        event,
        data: json!({ "reason": reason.as_str(), "slug": tenant.slug }),
    })
}
