//! The password once more, from somebody who is in already or has a code: for steps that a stolen
//! session must not take. Not for signing in.

use kernel::{RequestId, Result, TenantId};
use serde_json::json;
use service::App;
use store::{Event, Purpose};

use crate::admission::admit;
use crate::authenticate::invalid_credentials;
use crate::credentials::password::{Checked, Password};
use crate::credentials::throttle::Attempt;
use crate::origin::Origin;
use crate::queries::Account;
use crate::state::Identity;

pub(crate) fn proving(account: &Account, origin: &Origin) -> Attempt {
    let named = account.email.clone().unwrap_or_else(|| account.user.to_string());
    Attempt { what: "proof", account: Some(named), network: origin.network, tenant: None }
}

/// Somebody who is to prove that an account is theirs.
pub(crate) struct Proof<'a> {
    pub account: &'a Account,
    /// Where a failure is written down.
    pub tenant: TenantId,
    /// For what it is needed.
    pub what: &'static str,
    pub origin: &'a Origin,
    pub request: &'a RequestId,
}

/// Refuses unless this is the person's password: for steps that a stolen session must not take.
pub(crate) async fn prove(app: &App, identity: &Identity, proof: Proof<'_>, password: Password) -> Result<()> {
    let Proof { account, tenant, what, origin, request } = proof;
    let attempt = admit(&app.store, identity, proving(account, origin)).await?;
    let slot = identity.passwords().reserve()?;
    if identity.passwords().check(slot, password, account.password_hash.clone()).await? == Checked::Wrong {
        proof_failed(app, account, tenant, what, origin, request).await?;
        return Err(invalid_credentials());
    }
    identity.throttle().succeeded(&attempt);
    Ok(())
}

/// Writes down that somebody with a session or a code did not know the password.
pub(crate) async fn proof_failed(
    app: &App,
    account: &Account,
    tenant: TenantId,
    what: &str,
    origin: &Origin,
    request: &RequestId,
) -> Result<()> {
    let system = app.store.system(Purpose::SignIn).await?;
    let told = json!({ "what": what, "network": origin.network.to_string() });
    let event = Event::about("identity.proof.failed", account.user, told);
    system.record(tenant, "anonymous", request, &event).await?;
    system.commit().await
}
