//! What the identity service is made of, for the gateway, the documents and the event log. Not for
//! behaviour.

use service::{Audience, EventType, PermissionType, Role, Service};
use store::Constraint;

use crate::routes::{
    api_tokens, cookie, elevate, invitations, jwks, me, members, passwords, refresh, register, sessions, sign_in,
    ticket,
};
use crate::state::Identity;
use crate::{migrations, provision};

/// Returns the service over this state.
pub fn service(identity: Identity) -> Service {
    Service::new("identity", "People, memberships and sign-in")
        .routes([sign_in::operation(), refresh::operation(), elevate::operation(), jwks::operation()])
        .routes([ticket::operation()])
        .routes(cookie::operations())
        .routes(me::operations())
        .routes(register::operations())
        .routes(passwords::operations())
        .routes(sessions::operations())
        .routes(api_tokens::operations())
        .routes(invitations::operations())
        .routes(members::operations())
        .body_limit(BODY)
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
        .provisions(provision::part())
        .subscriptions([provision::subscription()])
        .jobs([provision::job(identity.clone())])
        .extension(identity)
}

/// No body here needs more, and strangers may send them.
const BODY: usize = 8 << 10;

const PERMISSIONS: [PermissionType; 3] = [
    PermissionType { name: "identity.members.read", role: Role::Staff, summary: "See who the members are" },
    PermissionType { name: "identity.members.invite", role: Role::Admin, summary: "Invite people" },
    PermissionType { name: "identity.members.write", role: Role::Admin, summary: "Change and remove members" },
];

const EVENTS: [EventType; 18] = [
    audit("identity.sign_in.succeeded", "Somebody signed in"),
    audit("identity.sign_in.failed", "A sign-in was refused"),
    audit("identity.sign_in_code.created", "A one-use sign-in code was made"),
    audit("identity.session.revoked", "A session was ended"),
    audit("identity.session.reused", "A refresh token came twice: somebody has a copy of it"),
    audit("identity.superadmin.entered", "Somebody who runs the platform entered the organisation; data tells why"),
    audit("identity.token.created", "An API token was made"),
    audit("identity.token.revoked", "An API token was revoked"),
    audit("identity.user.password_changed", "Somebody has a new password"),
    audit("identity.user.signed_out", "Several sessions of a person were ended at once"),
    audit("identity.proof.failed", "Somebody who had to repeat their password did not know it"),
    audit("identity.invitation.created", "Somebody was invited"),
    audit("identity.invitation.accepted", "An invitation was accepted"),
    audit("identity.invitation.withdrawn", "An invitation was withdrawn"),
    member("identity.user.created", "Somebody became a member"),
    member("identity.user.updated", "A member's role was changed"),
    member("identity.user.renamed", "A member changed their name, or added an address"),
    member("identity.user.deactivated", "Somebody is no longer a member"),
];

const fn audit(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Admins, retention_days: Some(365), summary }
}

const fn member(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Admins, retention_days: None, summary }
}

const CONSTRAINTS: [Constraint; 2] = [
    Constraint {
        name: "identity_user_email",
        columns: "identity_user.email",
        code: "identity.email_taken",
        message: "there is an account with this e-mail address",
    },
    Constraint {
        name: "identity_signing_key_serial",
        columns: "identity_signing_key.serial",
        code: "identity.signing_key_taken",
        message: "another process made this signing key",
    },
];
