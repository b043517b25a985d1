//! The rows that the service keeps, one table a file. Not for changing them.

pub(crate) mod code;
pub(crate) mod invitation;
pub(crate) mod membership;
pub(crate) mod refused;
pub(crate) mod registration;
pub(crate) mod reset;
pub(crate) mod session;
pub(crate) mod signing_key;
pub(crate) mod ticket;
pub(crate) mod token;
pub(crate) mod user;
