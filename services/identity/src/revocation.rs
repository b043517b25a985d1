//! Which events end what somebody may do: the gateway forgets what it knows of the credentials that
//! they name, and asks again. Not for the change itself, which is in the database already.

use kernel::{TenantId, UserId};
use web::Revocation;

/// Says what an event takes back, if anything.
pub fn revocation_of(tenant: TenantId, kind: &str, subject: &str) -> Option<Revocation> {
    match kind {
        "identity.session.revoked" | "identity.token.revoked" => Some(Revocation::Credential(subject.into())),
        "identity.user.updated"
        | "identity.user.deactivated"
        | "identity.user.created"
        | "identity.user.password_changed" => {
            // An event that names nobody is none of ours; forgetting more is always safe.
            Some(subject.parse::<UserId>().map_or(Revocation::Tenant(tenant), Revocation::User))
        }
        "tenants.tenant.suspended" | "tenants.tenant.activated" => Some(Revocation::Tenant(tenant)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_back_what_it_names() {
        let (tenant, user) = (TenantId::new(), UserId::new());
        let of = |kind: &str, subject: &str| revocation_of(tenant, kind, subject);
        assert_eq!(of("identity.session.revoked", "ses_1"), Some(Revocation::Credential("ses_1".into())));
        assert_eq!(of("identity.user.updated", &user.to_string()), Some(Revocation::User(user)));
        assert_eq!(of("identity.user.deactivated", "?"), Some(Revocation::Tenant(tenant)));
        assert_eq!(of("tenants.tenant.suspended", "x"), Some(Revocation::Tenant(tenant)));
        assert_eq!(of("inventory.item.created", "itm_1"), None);
    }
}
