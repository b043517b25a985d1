//! What a route changes in requests. Not for answers.

use axum::body::Body;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Request};
use http_body::Body as _;
use kernel::Result;
use serde::{Deserialize, Serialize};

use super::Prepared;
use super::headers::{CompiledHeaders, HeaderChanges};
use super::query::{CompiledQuery, QueryChanges};
use crate::fault::{BodyFault, FaultWatch};
use crate::json::{JsonConfig, JsonFilter, JsonPlan, OnInvalid, is_json, strip_digests};
use crate::template::Values;

/// What is changed in requests.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RequestTransformConfig {
    /// Changes of header fields.
    pub headers: HeaderChanges,
    /// Changes of the query.
    pub query: QueryChanges,
    /// Changes of JSON bodies.
    pub json: Option<JsonConfig>,
}

/// A compiled transformation of requests.
#[derive(Clone, Debug, Default)]
pub struct RequestTransform {
    headers: CompiledHeaders,
    query: CompiledQuery,
    json: Option<JsonPlan>,
}

impl RequestTransformConfig {
    /// Says what is wrong with the changes, if anything.
    pub fn check(&self) -> Result<()> {
        RequestTransform::compile(self).map(drop)
    }
}

impl RequestTransform {
    /// Compiles the changes.
    pub fn compile(config: &RequestTransformConfig) -> Result<Self> {
        Ok(Self {
            headers: CompiledHeaders::compile(&config.headers)?,
            query: CompiledQuery::compile(&config.query)?,
            json: config.json.as_ref().map(JsonPlan::compile).transpose()?,
        })
    }

    /// Renders what the request shows.
    pub fn prepare(&self, values: &Values<'_>) -> Prepared {
        Prepared {
            headers: self.headers.prepare(values),
            query: self.query.prepare(values),
            json: self.json.as_ref().map(|plan| plan.prepare(values)).unwrap_or_default(),
        }
    }

    /// Changes a request. The watch tells whether its body turned out to be no JSON.
    pub fn apply(&self, prepared: Prepared, mut request: Request<Body>) -> Result<(Request<Body>, Option<FaultWatch>)> {
        self.query.apply(&prepared.query, request.uri_mut())?;
        let json = self.json.as_ref().filter(|_| is_json(request.headers()) && !request.body().is_end_stream());
        let Some(plan) = json else {
            self.headers.apply(prepared.headers, request.headers_mut());
            return Ok((request, None));
        };
        if is_encoded(request.headers()) {
            if plan.on_invalid() == OnInvalid::Fail {
                let message = "send the body without Content-Encoding: this route has to read it";
                return Err(kernel::Error::invalid("gateway.body_encoding_refused", message).status_code(415));
            }
            self.headers.apply(prepared.headers, request.headers_mut());
            return Ok((request, None));
        }
        request.headers_mut().remove(CONTENT_LENGTH);
        strip_digests(request.headers_mut());
        self.headers.apply(prepared.headers, request.headers_mut());
        let watch = FaultWatch::default();
        let filter = JsonFilter::new(plan.clone(), prepared.json);
        let request = request.map(|body| filter.over(body, BodyFault::RequestNotJson, watch.clone()));
        Ok((request, Some(watch)))
    }
}

/// Says whether a body is compressed or otherwise encoded.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
