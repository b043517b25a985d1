//! The routes of the service, one story a file. Not for what several of them share, which lies beside
//! this folder.

pub(crate) mod api_tokens;
pub(crate) mod cookie;
pub(crate) mod elevate;
pub(crate) mod invitations;
pub(crate) mod jwks;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod passwords;
pub(crate) mod refresh;
pub(crate) mod register;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod ticket;
