//! The HTTP pieces that services and gateway share: extractors, problem documents, request ids,
//! entity tags, and the signed header that carries a checked caller between processes. Not for
//! routing and not for business rules.

mod etag;
mod extract;
mod internal;
mod problem;
mod reply;
mod request;

pub use etag::{IfMatch, IfNoneMatch, etag};
pub use extract::{Body, Caller, Path, Query};
pub use internal::{CONTEXT_HEADER, ContextKey};
pub use problem::{PROBLEM_JSON, Problem, Rendered, render};
pub use reply::{Reply, not_modified};
pub use request::{
    CORRELATION_ID_HEADER, Granted, IDEMPOTENCY_KEY_HEADER, Limits, Operator, Principal, REQUEST_ID_HEADER, RequestIds,
    bytes_within, take_idempotency,
};

/// What a handler returns: a reply, or the problem that kept it from one.
pub type Result<T = Reply> = std::result::Result<T, Problem>;
