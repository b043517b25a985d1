//! What a route says of one request to an upstream. Not for the request itself.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, header::HeaderName};
use kernel::TenantId;

use crate::failure::FailureKind;

/// The draft's request header that makes an unsafe request safe to repeat.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// For how much longer than told a process of this installation is waited for.
pub const GRACE: Duration = Duration::from_millis(250);

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
    /// Whether the answer's body may be silent for as long as it likes: a stream.
    pub live: bool,
    /// Whether the route allows retries (of what may be retried at all).
    pub retry: bool,
    /// Whether the upstream honours `Idempotency-Key`, so that any method with one may be retried.
    pub honours_idempotency_key: bool,
    /// Whether a second server is asked when the first is slow; safe methods without a body only.
    pub hedge: bool,
    /// Whether the server is a process of this installation: what it answers, and how long it takes to, is judged
    /// as little as it would be in this process; only the way there is. It is told a deadline that is earlier by
    /// [`GRACE`], ends the request itself and says why, in the words that it has for it.
    pub own: bool,
    /// Whether this asks for a change of protocol. The caller has checked Connection and Upgrade.
    pub upgrade: bool,
    /// Who is told of each attempt.
    pub observer: Option<Observer>,
}

/// Is told of each attempt at a request: retries, hedges and the first.
pub trait Observe: Send + Sync {
    /// A server was chosen. What is returned is told how it went, and dropped when nobody waits any more.
    fn begins(&self, attempt: Attempt<'_>) -> Option<Box<dyn Observed>>;
}

/// An attempt that is under way.
pub trait Observed {
    /// There is the head of an answer, or there will be none.
    fn ended(self: Box<Self>, outcome: Result<StatusCode, FailureKind>);
}

/// What is about to leave, and for where.
pub struct Attempt<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The server, without its scheme's own port.
    pub server: &'a http::uri::Authority,
    /// The method.
    pub method: &'a Method,
    /// The target's path.
    pub path: &'a str,
    /// The request's headers, which the observer may add to.
    pub headers: &'a mut HeaderMap,
}

/// An observer, shared by the attempts of a request.
#[derive(Clone)]
pub struct Observer(pub Arc<dyn Observe>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Call {
    /// Returns the plainest call: no tenant, no retries beyond a dead pooled connection.
    pub fn until(deadline: Instant) -> Self {
        Self {
            tenant: None,
            client: None,
            deadline,
            deadline_covers_body: false,
            live: false,
            retry: false,
            honours_idempotency_key: false,
            hedge: false,
            own: false,
            upgrade: false,
            observer: None,
        }
    }

    /// Returns the deadline that the server is told.
    pub(crate) fn told_deadline(&self) -> Instant {
        if self.own { self.deadline.checked_sub(GRACE).unwrap_or(self.deadline) } else { self.deadline }
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
