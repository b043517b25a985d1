//! What a route says of one request to an upstream. Not for the request itself.

use std::net::IpAddr;
use std::time::Instant;

use http::{Method, header::HeaderName};
use kernel::TenantId;

/// The draft's request header that makes an unsafe request safe to repeat.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request's terms.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose request it is; breakers, budgets and shares are kept apart by it.
    pub tenant: Option<TenantId>,
    /// Where the client is; uploads that belong to no tenant are counted by it.
    pub client: Option<IpAddr>,
    /// When the head of the answer must be there at the latest, waits and retries included.
    pub deadline: Instant,
    /// Whether the deadline ends the answer's body too. Leave it off for streams and downloads.
    pub deadline_covers_body: bool,
    /// Whether the route allows retries (of what may be retried at all).
    pub retry: bool,
    /// Whether the upstream honours `Idempotency-Key`, so that any method with one may be retried.
    pub honours_idempotency_key: bool,
    /// Whether a second server is asked when the first is slow; safe methods without a body only.
    pub hedge: bool,
    /// Whether this asks for a change of protocol. The caller has checked Connection and Upgrade.
    pub upgrade: bool,
}

impl Call {
    /// Returns the plainest call: no tenant, no retries beyond a dead pooled connection.
    pub fn until(deadline: Instant) -> Self {
        Self {
            tenant: None,
            client: None,
            deadline,
            deadline_covers_body: false,
            retry: false,
            honours_idempotency_key: false,
            hedge: false,
            upgrade: false,
        }
    }

    /// Says whether doing it twice is the same as doing it once (RFC 9110, section 9.2.2).
    pub(crate) fn may_repeat<B>(&self, request: &http::Request<B>) -> bool {
        let idempotent = request.method().is_idempotent();
        idempotent || (self.honours_idempotency_key && request.headers().contains_key(&IDEMPOTENCY_KEY))
    }
}

/// Says whether a method is safe to repeat on a dead pooled connection (RFC 9110, section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
