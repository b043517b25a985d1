//! The identity service: people, memberships, signing in and staying signed in, API tokens,
//! invitations, and the authenticator that the gateway asks. People are global, what they may do is
//! a matter of their membership in a tenant. Not for tenants' life cycle, and not for the gateway's
//! cache.

mod admission;
mod authenticate;
mod bootstrap;
mod contact;
mod credentials;
mod ending;
mod enrol;
mod housekeeping;
mod letters;
mod manifest;
mod migrations;
mod opening;
mod origin;
mod proof;
mod provision;
mod queries;
mod revocation;
mod routes;
mod settings;
mod state;
mod tables;

pub use authenticate::{Authenticated, Authenticator, RolePermissions};
pub use bootstrap::{
    FirstStart, Member, NewMember, SignInCode, add_member, create_sign_in_code, first_start, issue_token,
    set_superadmin,
};
pub use contact::{Contact, contact};
pub use housekeeping::{forget_secrets, remove_expired};
pub use letters::{Courier, Letter};
pub use manifest::service;
pub use revocation::{REVOKING, only_gives, revocation_of};
pub use settings::{Registration, Settings};
pub use state::Identity;
pub use tables::token::Token as TokenKind;
