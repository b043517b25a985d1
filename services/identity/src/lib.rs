//! The identity service, first cut: people, memberships, opaque bearer tokens and the one-use
//! sign-in of a first start. Passwords, ES256 access tokens and refresh come on the same tables.
//! Not for tenants' life cycle and not for the gateway's cache.

mod authenticate;
mod bootstrap;
mod code;
mod membership;
mod migrations;
mod session;
mod token;
mod user;

use service::{Audience, EventType, PermissionType, Role, Service};

pub use authenticate::{Authenticator, RolePermissions};
pub use bootstrap::{FirstStart, Member, SignInCode, add_member, create_sign_in_code, first_start, issue_token};

/// Returns the service.
pub fn service() -> Service {
    Service::new("identity", "People, memberships and sign-in")
        .routes(session::operations())
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
}

const PERMISSIONS: [PermissionType; 1] = [PermissionType {
    name: "identity.self.read",
    role: Role::Viewer,
    summary: "See one's own profile",
}];

const EVENTS: [EventType; 2] = [
    EventType {
        name: "identity.sign_in.succeeded",
        audience: Audience::Admins,
        retention_days: Some(365),
        summary: "Somebody signed in",
    },
    EventType {
        name: "identity.session.revoked",
        audience: Audience::Admins,
        retention_days: Some(365),
        summary: "A token was revoked, by its owner or by an administrator",
    },
];
