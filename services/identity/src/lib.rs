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

use service::{Audience, EventType, Service};

pub use authenticate::{Authenticator, RolePermissions};
pub use bootstrap::{FirstStart, Member, SignInCode, add_member, create_sign_in_code, first_start, issue_token};
pub use token::Token as TokenKind;

/// Returns the service.
pub fn service() -> Service {
    Service::new("identity", "People, memberships and sign-in")
        .routes(session::operations())
        .migrations(migrations::STEPS)
        .events(EVENTS)
}

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
