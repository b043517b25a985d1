//! What a route changes in answers. A changed body has no length that is known before, no digest and no ranges,
//! and its entity tag is weak: HEAD and 304 say the same. Not for requests.

use axum::body::Body;
use http::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use kernel::Result;
use serde::{Deserialize, Serialize};

use super::Prepared;
use super::headers::{CompiledHeaders, HeaderChanges};
use super::request::is_encoded;
use crate::fault::{BodyFault, FaultWatch};
use crate::json::{JsonConfig, JsonFilter, JsonPlan, OnInvalid, is_json, strip_digests};
use crate::template::Values;

/// What becomes of the entity tag of a changed body.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Etag {
    /// It becomes weak: good for asking whether something changed, not for If-Match (RFC 9110, section 8.8.3).
    #[default]
    Weak,
    /// It is left out.
    Drop,
}

/// What is changed in answers.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseTransformConfig {
    /// Changes of header fields; `{header.NAME}` shows the request's.
    pub headers: HeaderChanges,
    /// Changes of JSON bodies, `application/json` and `+json`.
    pub json: Option<JsonConfig>,
    /// Whether the JSON of errors (4xx, 5xx) is changed too.
    pub json_of_errors: bool,
    /// What becomes of the entity tag of a changed body.
    pub etag: Etag,
}

/// A compiled transformation of answers.
#[derive(Clone, Debug, Default)]
pub struct ResponseTransform {
    headers: CompiledHeaders,
    json: Option<JsonPlan>,
    json_of_errors: bool,
    etag: Etag,
}

impl ResponseTransformConfig {
    /// Says what is wrong with the changes, if anything.
    pub fn check(&self) -> Result<()> {
        ResponseTransform::compile(self).map(drop)
    }
}

impl ResponseTransform {
    /// Compiles the changes.
    pub fn compile(config: &ResponseTransformConfig) -> Result<Self> {
        Ok(Self {
            headers: CompiledHeaders::compile(&config.headers)?,
            json: config.json.as_ref().map(JsonPlan::compile).transpose()?,
            json_of_errors: config.json_of_errors,
            etag: config.etag,
        })
    }

    /// Renders what the request shows in its answer; call it before the request is sent on.
    pub fn prepare(&self, values: &Values<'_>) -> Prepared {
        Prepared {
            headers: self.headers.prepare(values),
            query: Vec::new(),
            json: self.json.as_ref().map(|plan| plan.prepare(values)).unwrap_or_default(),
        }
    }

    /// Asks the service for a body that can be changed: whole, and not compressed.
    pub fn ask(&self, headers: &mut HeaderMap) {
        if self.json.is_some() {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            headers.remove(RANGE);
            headers.remove(IF_RANGE);
        }
    }

    /// Changes the answer to a request of this method.
    pub fn apply(&self, method: &Method, prepared: Prepared, mut response: Response<Body>) -> Result<Response<Body>> {
        let Prepared { headers, json, .. } = prepared;
        let changed = self.json.as_ref().filter(|_| self.is_for(&response));
        if let Some(plan) = changed {
            let bodiless = response.status() == StatusCode::NOT_MODIFIED;
            let partial = response.status() == StatusCode::PARTIAL_CONTENT;
            let readable = bodiless || !partial && !is_encoded(response.headers());
            if !readable && plan.on_invalid() == OnInvalid::Fail {
                // It was asked for otherwise; what is to be hidden must not pass compressed.
                return Err(BodyFault::ResponseNotJson.error());
            }
            if readable {
                self.mark(response.headers_mut());
                if method != Method::HEAD && !bodiless {
                    let filter = JsonFilter::new(plan.clone(), json);
                    response =
                        response.map(|body| filter.over(body, BodyFault::ResponseNotJson, FaultWatch::default()));
                }
            }
        }
        self.headers.apply(headers, response.headers_mut());
        Ok(response)
    }

    /// Says whether the body of such an answer is changed, or would be in the answer to GET.
    fn is_for(&self, response: &Response<Body>) -> bool {
        let status = response.status();
        match status {
            // It speaks of the answer that was changed, and may not say of which type that is.
            StatusCode::NOT_MODIFIED => true,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => false,
            _ => {
                let good = status.is_success()
                    || self.json_of_errors && (status.is_client_error() || status.is_server_error());
                good && is_json(response.headers())
            }
        }
    }

    fn mark(&self, headers: &mut HeaderMap) {
        headers.remove(CONTENT_LENGTH);
        headers.remove(ACCEPT_RANGES);
        strip_digests(headers);
        let Some(tag) = headers.get(ETAG) else { return };
        if self.etag == Etag::Drop {
            headers.remove(ETAG);
        } else if !tag.as_bytes().starts_with(b"W/") {
            let weak = [b"W/", tag.as_bytes()].concat();
            if let Ok(weak) = HeaderValue::from_bytes(&weak) {
                headers.insert(ETAG, weak);
            }
        }
    }
}
