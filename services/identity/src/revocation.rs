//! Which events end what somebody may do: the gateway forgets what it knows of the credentials that
//! they name, and asks again. Not for the change itself, which is in the database already.

use kernel::{TenantId, UserId};
use web::Revocation;

/// The types of the events that take something back.
pub const REVOKING: [&str; 8] = [
    "identity.session.revoked",
    "identity.token.revoked",
    "identity.user.created",
    "identity.user.updated",
    "identity.user.deactivated",
    "identity.user.signed_out",
    "tenants.tenant.suspended",
    "tenants.tenant.activated",
];

/// Says what an event takes back, if anything.
pub fn revocation_of(tenant: TenantId, kind: &str, subject: &str) -> Option<Revocation> {
    match kind {
        "identity.session.revoked" | "identity.token.revoked" => Some(Revocation::Credential(subject.into())),
        "identity.user.updated"
        | "identity.user.deactivated"
        | "identity.user.created"
        | "identity.user.signed_out" => {
            // An event that names nobody is none of ours; forgetting more is always safe.
            Some(subject.parse::<UserId>().map_or(Revocation::Tenant(tenant), Revocation::User))
        }
        "tenants.tenant.suspended" | "tenants.tenant.activated" => Some(Revocation::Tenant(tenant)),
        _ => None,
    }
}

/// Says whether an event gives something, so that what is known is out of date without anything having
/// ended: connections that are open may stay.
pub fn only_gives(kind: &str) -> bool {
    matches!(kind, "identity.user.created" | "tenants.tenant.activated")
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
        for kind in REVOKING {
            assert!(of(kind, &user.to_string()).is_some(), "{kind}");
        }
    }
}
