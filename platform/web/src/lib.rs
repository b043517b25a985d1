//! The HTTP pieces that services and gateway share: extractors, problem documents, request ids,
//! entity tags, and the signed header that carries a checked caller between processes. Not for
//! routing and not for business rules.

mod authenticate;
mod connections;
mod etag;
mod extract;
mod internal;
mod objects;
mod onward;
mod problem;
mod quiet;
mod reply;
mod request;
mod trace;

pub use authenticate::{Authenticate, Verified};
pub use connections::{Connection, Connections, Moment, Standing};
pub use etag::{IF_MATCH_PATTERN, IfMatch, IfNoneMatch, etag};
pub use extract::{Body, Caller, Client, Path, Query};
pub use internal::{CONTEXT_HEADER, ContextKey, SignedContext};
pub use onward::Onward;
pub use problem::{PROBLEM_JSON, Problem, Rendered, render};
pub use reply::{Reply, not_modified};
pub use request::{
    AUDIT_REASON_HEADER, CORRELATION_ID_HEADER, ClientAddress, CredentialKind, Granted, IDEMPOTENCY_KEY_HEADER,
    IDEMPOTENCY_KEY_PATTERN, Limits, Operator, PeerAddress, Principal, REQUEST_ID_HEADER, RequestIds, Revocation,
    audit_reason, bytes_within, reason_required, take_idempotency, take_idempotency_of_stream,
};
pub use trace::{TRACEPARENT, TRACESTATE, TraceContext};

/// What a handler returns: a reply, or the problem that kept it from one.
pub type Result<T = Reply> = std::result::Result<T, Problem>;
