//! From a bearer token to a checked caller, as a question that the door asks before a request and a
//! socket asks in its first message. Not for the answer: that is the identity service's.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kernel::{Error, Result, Timestamp};

use crate::request::Principal;

/// A caller whose token was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The caller.
    pub principal: Arc<Principal>,
    /// When the credential ends by itself.
    pub until: Timestamp,
}

/// Turns a bearer token into a checked caller.
pub trait Authenticate: Send + Sync + 'static {
    /// Returns the caller behind the token, or refuses it.
    fn bearer<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified>>;

    /// Returns the caller behind a ticket that opens a connection at this path, once, or refuses it.
    fn ticket<'a>(&'a self, _ticket: &'a str, _path: &'a str) -> BoxFuture<'a, Result<Verified>> {
        Box::pin(async { Err(Error::unauthenticated("request.unauthenticated", "there are no tickets here")) })
    }
}
