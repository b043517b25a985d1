//! The identity service: people, memberships, signing in and staying signed in, API tokens,
//! invitations, and the authenticator that the gateway asks. People are global, what they may do is
//! a matter of their membership in a tenant. Not for tenants' life cycle, and not for the gateway's
//! cache.

mod access_token;
mod api_tokens;
mod authenticate;
mod bootstrap;
mod code;
mod elevate;
mod enrol;
mod housekeeping;
mod invitation;
mod invitations;
mod jwks;
mod keys;
mod letters;
mod manifest;
mod me;
mod members;
mod membership;
mod migrations;
mod opening;
mod origin;
mod password;
mod passwords;
mod queries;
mod refresh;
mod refresh_token;
mod refused;
mod register;
mod registration;
mod reset;
mod revocation;
mod secret;
mod session;
mod sessions;
mod settings;
mod sign_in;
mod signing_key;
mod state;
mod throttle;
mod token;
mod user;

pub use authenticate::{Authenticated, Authenticator, RolePermissions};
pub use bootstrap::{
    FirstStart, Member, NewMember, SignInCode, add_member, create_sign_in_code, first_start, issue_token,
    set_superadmin,
};
pub use housekeeping::{forget_secrets, remove_expired};
pub use letters::{Courier, Letter};
pub use manifest::service;
pub use revocation::revocation_of;
pub use settings::{Registration, Settings};
pub use state::Identity;
pub use token::Token as TokenKind;
