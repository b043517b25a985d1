//! One change of a tenant: the row and the event in the tenant's own log, all or nothing. Saying
//! again what is so already changes nothing and appends nothing. Not for who may change what.

use kernel::{Ctx, Error, Kind, Result, TenantId};
use service::App;
use store::{Event, Purpose, TenantChange, TenantRecord, version_mismatch};

/// What is to become of a tenant, and what its event tells.
pub(crate) struct Decision {
    pub change: TenantChange,
    /// The event's type.
    pub event: &'static str,
    /// What the event tells.
    pub data: serde_json::Value,
}

/// Changes the tenant as `decide` says, which is shown the tenant as it is; nothing means that it
/// is right already. With `expected`, only if that is still the tenant's version.
pub(crate) async fn change(
    app: &App,
    ctx: &Ctx,
    id: TenantId,
    expected: Option<i64>,
    decide: impl Fn(&TenantRecord) -> Option<Decision>,
) -> Result<TenantRecord> {
    let system = app.store.system(Purpose::Tenancy).await?;
    loop {
        let present = system.tenant(id).await?;
        if let Err(error) = may_change(&present, expected) {
            system.close().await?;
            return Err(error);
        }
        let Some(Decision { change, event, data }) = decide(&present) else {
            system.close().await?;
            return Ok(present);
        };
        // On PostgreSQL somebody may have changed it since it was read: then decide anew, so that
        // two who suspend at once leave one event.
        let tenant = match system.change_tenant(id, Some(present.version), change).await {
            Ok(tenant) => tenant,
            Err(error) if error.kind() == Kind::Precondition => continue,
            Err(error) => return Err(error),
        };
        let event = Event { kind: event.to_owned(), subject: id.to_string(), version: tenant.version, data };
        system.record_for(id, ctx, &event).await?;
        system.commit().await?;
        return Ok(tenant);
    }
}

/// Refuses a tenant that is still being made, which has no log yet and may be taken back; and, with
/// `expected`, another version.
pub(crate) fn may_change(present: &TenantRecord, expected: Option<i64>) -> Result<()> {
    if present.is_provisioning() {
        let message = "this organisation is still being made: try again when it is";
        return Err(Error::conflict("tenants.provisioning", message).retry_after(1));
    }
    if expected.is_some_and(|version| version != present.version) { Err(version_mismatch()) } else { Ok(()) }
}

/// Finds a tenant.
pub(crate) async fn find(app: &App, id: TenantId) -> Result<TenantRecord> {
    let system = app.store.system_read(Purpose::Tenancy).await?;
    let tenant = system.tenant(id).await?;
    system.close().await?;
    Ok(tenant)
}
