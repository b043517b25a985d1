//! The one place where an error becomes HTTP: RFC 9457 `application/problem+json` with a stable
//! code. Handlers return [`Problem`]; the boundary calls [`render`], which knows the request's ids
//! and logs the error once. Not for success bodies.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use kernel::{Error, Kind};
use serde_json::json;

use crate::quiet::Quiet;
use crate::reply::Reply;
use crate::request::RequestIds;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error on its way out of a handler.
pub struct Problem(Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// Rides in a response's extensions from the handler to the boundary.
#[derive(Clone)]
struct Unrendered(Arc<Error>);

/// Marks a response that holds a problem document, so that shapes wrap it as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The error's stable code.
    pub code: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = match self.0.into_replay() {
            Ok(answer) => return Reply(answer).into_response(),
            Err(error) => error,
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(Unrendered(Arc::new(error)));
        response
    }
}

/// Writes the problem document of a response that carries an error, and logs it.
pub fn render(response: Response, ids: &RequestIds) -> Response {
    let Some(Unrendered(error)) = response.extensions().get::<Unrendered>().cloned() else {
        return response;
    };
    log(&error, ids);
    let mut document = json!({
        "type": format!("urn:portico:error:{}", error.code()),
        "title": error.kind().title(),
        "status": error.status(),
        "detail": error.message(),
        "code": error.code(),
        "requestId": ids.request.as_str(),
        "correlationId": ids.correlation.as_str(),
    });
    if !error.fields().is_empty() {
        document["errors"] = json!(error.fields());
    }
    let (mut parts, _) = response.into_parts();
    parts.extensions.remove::<Unrendered>();
    parts.extensions.insert(Rendered { code: error.code() });
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if let Some(seconds) = error.retry_after_seconds() {
        parts.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Response::from_parts(parts, Body::from(document.to_string()))
}

static QUIET: Quiet = Quiet::new();

fn log(error: &Error, ids: &RequestIds) {
    let (request, code, status) = (ids.request.as_str(), error.code(), error.status());
    match error.kind() {
        Kind::Internal => {
            tracing::error!(request.id = request, error.code = code, status, error = %error, "request failed")
        }
        Kind::Unavailable => {
            if let Some(left_out) = QUIET.lets(code, Instant::now()) {
                tracing::warn!(
                    request.id = request, error.code = code, status, error = %error, left_out, "request not served now"
                );
            }
        }
        _ => tracing::debug!(request.id = request, error.code = code, status, error = %error, "request refused"),
    }
}
