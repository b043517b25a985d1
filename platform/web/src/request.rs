//! What travels with a request from the door to the handler, in its extensions: ids, the checked
//! caller, what was granted, limits, the idempotency key. Not for bodies.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kernel::{Actor, Error, Idempotency, PermissionSet, RequestId, Result, TenantId};
use sha2::{Digest as _, Sha256};

/// Names one request.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Names a chain of requests.
pub const CORRELATION_ID_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
/// Makes an unsafe request safe to send again.
pub const IDEMPOTENCY_KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The ids of a request.
#[derive(Clone, Debug)]
pub struct RequestIds {
    /// Names this request.
    pub request: RequestId,
    /// Names the chain that it belongs to.
    pub correlation: RequestId,
}

impl RequestIds {
    /// Takes the ids that the client sent where they keep the rules, and makes the others.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let sent = |name: &HeaderName| headers.get(name)?.to_str().ok().and_then(RequestId::parse);
        let request = sent(&REQUEST_ID_HEADER).unwrap_or_else(RequestId::create);
        let correlation = sent(&CORRELATION_ID_HEADER).unwrap_or_else(|| request.clone());
        Self { request, correlation }
    }
}

/// A caller whose credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant that the credential is for.
    pub tenant: TenantId,
    /// Who it is.
    pub actor: Actor,
    /// Its role in the tenant, for display.
    pub role: Arc<str>,
    /// What it may do in the tenant.
    pub permissions: PermissionSet,
    /// Names the credential, so that it can be revoked: a token or a session.
    pub credential: Arc<str>,
}

/// Says that the request carried the operator token.
#[derive(Clone, Copy, Debug)]
pub struct Operator;

/// Says that the route's own permission was checked; without it no context is built.
#[derive(Clone, Copy, Debug)]
pub struct Granted;

/// The limits of a route.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body that is taken, in bytes.
    pub body_bytes: usize,
}

/// Reads a body to its end, unless it is longer than `limit`.
pub async fn bytes_within(body: Body, limit: usize) -> Result<Bytes> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::invalid("request.too_large", format!("the body must have at most {limit} bytes"))
                .status_code(413))
        }
        Err(error) => Err(Error::invalid("request.cut_off", "the body ended before its end").source_error(error)),
    }
}

/// Takes the idempotency key of an unsafe request, with the fingerprint of what it asks.
pub async fn take_idempotency(request: Request, limit: usize) -> Result<(Request, Option<Idempotency>)> {
    let Some(value) = request.headers().get(&IDEMPOTENCY_KEY_HEADER) else { return Ok((request, None)) };
    if request.method().is_safe() {
        return Ok((request, None));
    }
    let key = value.to_str().unwrap_or_default().trim().trim_matches('"').to_owned();
    let allowed = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !allowed {
        let message = "Idempotency-Key must have 1 to 255 visible ASCII characters";
        return Err(Error::invalid("request.invalid_idempotency_key", message));
    }
    let (parts, body) = request.into_parts();
    let bytes = bytes_within(body, limit).await?;
    let mut hash = Sha256::new();
    for part in [
        parts.uri.query().unwrap_or_default().as_bytes(),
        parts.headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default(),
        &bytes,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let idempotency = Idempotency {
        key,
        scope: format!("{} {}", parts.method, parts.uri.path()),
        fingerprint: hash.finalize().into(),
    };
    Ok((Request::from_parts(parts, Body::from(bytes)), Some(idempotency)))
}
