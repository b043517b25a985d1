//! A superadmin's way into a tenant: with the password once more and a reason, for half an hour. The
//! tenant sees who came, why, and what was done. Not a role in a tenant: nobody is a superadmin by
//! membership.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Error, Result, Text};
use serde::Deserialize;
use service::{Access, App, Operation};
use store::Purpose;
use utoipa::ToSchema;
use web::{Body, Principal, Problem, RequestIds};

use crate::credentials::password::Password;
use crate::opening::{self, Opening, SignedIn, not_stored};
use crate::origin::Origin;
use crate::proof::{Proof, prove};
use crate::queries::{self, Membership, Wanted};
use crate::routes::me::person_of;
use crate::state::Identity;

/// What entering a tenant takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Elevate {
    /// The short name of the organisation to enter.
    organization: Text<64>,
    /// Why; the organisation will read it.
    reason: Text<500>,
    /// The superadmin's password, once more.
    password: Password,
}

pub(crate) fn operation() -> Operation {
    Operation::post("/api/auth/elevate", "identity_elevate", elevate)
        .access(Access::Session)
        .describe(
            "Enter an organisation as superadmin",
            "For whoever runs the platform. Opens a session of half an hour at most, with all permissions. The \
             organisation's audit trail tells who entered and why, and every change needs a reason of its \
             own in `X-Audit-Reason`.",
        )
        .takes::<Elevate>()
        .gives::<SignedIn>(200, "Entered")
        .problems(&[400, 401, 403, 404, 409, 415, 429, 503])
}

async fn elevate(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(principal): Extension<Principal>,
    Extension(ids): Extension<RequestIds>,
    origin: Origin,
    Body(input): Body<Elevate>,
) -> Result<Response, Problem> {
    let system = app.store.system_read(Purpose::SignIn).await?;
    let account = queries::account(&system, Wanted::User(person_of(&principal)?)).await?;
    let tenant = system.tenant_by_slug(input.organization.as_str()).await?;
    system.close().await?;
    let account = account.ok_or_else(|| queries::lost("the person of a session"))?;
    if !account.is_superadmin() {
        return Err(Error::forbidden("identity.not_superadmin", "this needs the platform role superadmin").into());
    }
    if account.password_hash.is_none() {
        let message = "set a password first: POST /api/auth/password/change";
        return Err(Error::conflict("identity.password_required", message).into());
    }
    let proof = Proof {
        account: &account,
        tenant: principal.tenant,
        what: "elevation",
        origin: &origin,
        request: &ids.request,
    };
    prove(&app, &identity, proof, input.password).await?;
    let unknown = || Error::not_found("tenants.not_found", "there is no organisation of this name");
    // What is still being made may be taken back, so nobody works in it, whoever it is.
    let tenant = tenant.filter(|tenant| !tenant.is_provisioning()).ok_or_else(unknown)?;
    let place = Membership::elevated(tenant);
    let opening = Opening {
        account: &account,
        place: &place,
        method: "elevation",
        origin: &origin,
        request: &ids.request,
        elevation: Some(input.reason.into()),
        proof: account.password_hash.clone(),
        rehashed: None,
    };
    let signed_in = opening::open(&app, &identity, opening).await?;
    Ok(not_stored(Answer::ok(&signed_in)?))
}
