//! What people and programs prove themselves with, as such: passwords, tokens, codes, keys, and the
//! counting of attempts. No HTTP and, but for reading keys, no database. Not for whose they are.

pub(crate) mod access_token;
pub(crate) mod keys;
pub(crate) mod password;
pub(crate) mod refresh_token;
pub(crate) mod secret;
pub(crate) mod throttle;
pub(crate) mod ticket;
