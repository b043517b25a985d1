//! Puts a route group's shape around a body by writing bytes before and after it, so a stream
//! stays a stream (decision 0006). Not for changing what is inside.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde_json::{Value, json};
use service::Shape;
use web::{PROBLEM_JSON, RequestIds};

/// Problem documents are small; a longer one is not ours.
const PROBLEM_LIMIT: usize = 64 * 1024;

/// Says whether the client asked for plain problem documents.
pub(crate) fn wants_plain_problems(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| part.split(';').next().is_some_and(|essence| essence.trim() == PROBLEM_JSON))
}

/// Writes the response in the shape.
pub(crate) async fn apply(response: Response, shape: Shape, plain: bool, ids: &RequestIds, began: Instant) -> Response {
    if shape == Shape::Plain || response.status() == StatusCode::NOT_MODIFIED || response.status().is_informational() {
        return response;
    }
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let problem = essence == PROBLEM_JSON;
    if (problem && plain) || !(problem || essence == "application/json" || response.status() == StatusCode::NO_CONTENT)
    {
        return response;
    }
    match shape {
        Shape::Plain => response,
        Shape::Success => success(response, problem, ids, began),
        Shape::Status if problem => status_error(response).await,
        Shape::Status => {
            wrap(response, Bytes::from_static(b"{\"status\":\"success\",\"data\":"), Bytes::from_static(b"}"))
        }
    }
}

fn success(response: Response, problem: bool, ids: &RequestIds, began: Instant) -> Response {
    let before: &'static [u8] = match problem {
        true => b"{\"success\":false,\"error\":",
        false => b"{\"success\":true,\"data\":",
    };
    // Request ids hold no character that JSON would escape.
    let after = format!(
        ",\"requestId\":\"{}\",\"correlationId\":\"{}\",\"meta\":{{\"durationMs\":{}}}}}",
        ids.request.as_str(),
        ids.correlation.as_str(),
        began.elapsed().as_millis()
    );
    wrap(response, Bytes::from_static(before), Bytes::from(after))
}

async fn status_error(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = web::bytes_within(body, PROBLEM_LIMIT).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let shaped = json!({ "status": "error", "error": problem["detail"], "code": problem["code"] }).to_string();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(shaped))
}

fn wrap(response: Response, before: Bytes, after: Bytes) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = match parts.status {
        StatusCode::NO_CONTENT => {
            parts.status = StatusCode::OK;
            Body::from("null")
        }
        _ => body,
    };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::new(Wrapped { before: Some(before), inner: body, after: Some(after) }))
}

/// A body with bytes before and after it.
struct Wrapped {
    before: Option<Bytes>,
    inner: Body,
    after: Option<Bytes>,
}

impl HttpBody for Wrapped {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(before))));
        }
        if self.after.is_none() {
            return Poll::Ready(None);
        }
        loop {
            return match Pin::new(&mut self.inner).poll_frame(cx) {
                // The bytes after would come too late behind trailers, so trailers end here.
                Poll::Ready(Some(Ok(frame))) if !frame.is_data() => continue,
                Poll::Ready(None) => Poll::Ready(self.after.take().map(|after| Ok(Frame::data(after)))),
                Poll::Ready(Some(Err(error))) => {
                    self.after = None;
                    Poll::Ready(Some(Err(error)))
                }
                other => other,
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.after.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let own = [&self.before, &self.after].into_iter().flatten().map(|bytes| bytes.len() as u64).sum::<u64>();
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + own);
        }
        hint.set_lower(inner.lower() + own);
        hint
    }
}
