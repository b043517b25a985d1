//! How large requests and answers may be: declared lengths are refused before a byte is read, others are
//! counted as they stream, and the stream ends with an error that aborts the other side. Not for slow
//! bodies: deadlines are the sockets' work.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::fault::{BodyFault, FaultWatch};

/// How large the bodies of a route may be.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct BodyLimitConfig {
    /// The largest request body; nothing: any.
    pub request_bytes: Option<u64>,
    /// The largest response body; nothing: any.
    pub response_bytes: Option<u64>,
}

/// Compiled limits of bodies.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyLimit {
    request: Option<u64>,
    response: Option<u64>,
}

impl BodyLimitConfig {
    /// Says what is wrong with the limits, if anything: nothing ever is.
    pub fn check(&self) -> Result<()> {
        Ok(())
    }
}

impl BodyLimit {
    /// Compiles the limits.
    pub fn compile(config: &BodyLimitConfig) -> Self {
        Self { request: config.request_bytes, response: config.response_bytes }
    }

    /// Refuses a request whose declared length is too large, and has other bodies counted. A body with a
    /// declared length is not touched: the server that reads it ends it there.
    pub fn request(&self, request: Request<Body>) -> Result<(Request<Body>, Option<FaultWatch>)> {
        let Some(limit) = self.request else { return Ok((request, None)) };
        match declared(request.headers()) {
            Some(length) if length > limit => Err(BodyFault::RequestTooLarge(limit).error()),
            Some(_) => Ok((request, None)),
            None if request.body().is_end_stream() => Ok((request, None)),
            None => {
                let (counted, watch) = count(BodyFault::RequestTooLarge(limit), limit);
                Ok((request.map(counted), Some(watch)))
            }
        }
    }

    /// Does the same for the response to a request of this method.
    pub fn response(&self, method: &Method, response: Response<Body>) -> Result<Response<Body>> {
        let Some(limit) = self.response else { return Ok(response) };
        let bodiless = method == Method::HEAD
            || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || response.status().is_informational();
        match declared(response.headers()) {
            _ if bodiless => Ok(response),
            Some(length) if length > limit => Err(BodyFault::ResponseTooLarge(limit).error()),
            Some(_) => Ok(response),
            None => Ok(response.map(count(BodyFault::ResponseTooLarge(limit), limit).0)),
        }
    }
}

/// Returns the one declared length. Two, or one that is no number, are not believed, and the body counted.
fn declared(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let length = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then_some(length)
}

fn count(fault: BodyFault, limit: u64) -> (impl FnOnce(Body) -> Body, FaultWatch) {
    let watch = FaultWatch::default();
    let told = watch.clone();
    (move |inner| Body::new(Counted { inner: Some(inner), left: limit, fault, watch: told }), watch)
}

struct Counted {
    /// Dropped with the fault, so that whoever sends it learns at once.
    inner: Option<Body>,
    left: u64,
    fault: BodyFault,
    watch: FaultWatch,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = match std::task::ready!(Pin::new(inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.inner = None;
                self.watch.tell(self.fault);
                Poll::Ready(Some(Err(axum::Error::new(self.fault))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

/// How large the head of a request may be, per route; the sockets have limits of their own for all.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct HeadLimitConfig {
    /// How many header fields; nothing: any.
    pub header_count: Option<usize>,
    /// How many bytes all fields may have, counted as HTTP/2 does: name, value and 32 for each.
    pub header_bytes: Option<usize>,
    /// How many bytes one field's value may have.
    pub header_value_bytes: Option<usize>,
}

impl Default for HeadLimitConfig {
    fn default() -> Self {
        Self { header_count: Some(100), header_bytes: Some(64 * 1024), header_value_bytes: Some(16 * 1024) }
    }
}

/// Compiled limits of heads.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimit {
    count: usize,
    bytes: usize,
    value: usize,
}

impl HeadLimit {
    /// Compiles the limits.
    pub fn compile(config: &HeadLimitConfig) -> Self {
        let or_any = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
        Self {
            count: or_any(config.header_count),
            bytes: or_any(config.header_bytes),
            value: or_any(config.header_value_bytes),
        }
    }

    /// Refuses a head that is too large.
    pub fn check(&self, headers: &HeaderMap) -> Result<()> {
        let refuse = |why| Err(Error::invalid("gateway.headers_too_large", why).status_code(431));
        if headers.len() > self.count {
            return refuse("the request has too many header fields");
        }
        let mut bytes = 0;
        for (name, value) in headers {
            if value.len() > self.value {
                return refuse("a header field of the request is too long");
            }
            // RFC 9113, section 6.5.2.
            bytes += name.as_str().len() + value.len() + 32;
        }
        if bytes > self.bytes { refuse("the request's header fields are too long") } else { Ok(()) }
    }
}
