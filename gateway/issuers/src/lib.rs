//! Checks access tokens that others have issued: JWTs (RFC 7519, RFC 9068) signed with keys that each
//! issuer publishes as a JWK Set (RFC 7517), by the rules of RFC 8725. Keys are refreshed while requests
//! run. Not for the installation's own tokens, and not for remembering what was checked: the door does.

mod caller;
mod check;
mod claims;
mod config;
mod fetch;
mod issuer;
mod issuers;
mod json;
mod jwk;
mod keys;
mod location;
mod origin;
mod pace;
mod source;
mod token;

pub use caller::Caller;
pub use check::check;
pub use config::{Claims, Config, Secret};
pub use issuers::{Issuers, Named};
pub use source::State;
