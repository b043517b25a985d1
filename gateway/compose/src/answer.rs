//! The answer of a composition: its parts by name, and what failed under `errors`. Not for how it came
//! about.

use std::collections::BTreeMap;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use kernel::Error;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Names the parts that are not what they should be; on a part's own answer, says that it is not.
pub(crate) const DEGRADED: HeaderName = HeaderName::from_static("portico-degraded");

/// Why a part failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartError {
    /// The status that it answered, or that stands for what happened.
    pub status: u16,
    /// A stable code.
    pub code: String,
    /// For people.
    pub detail: String,
    /// After how many seconds asking again makes sense; told where it fails the whole.
    #[serde(skip)]
    pub retry_after_seconds: Option<u32>,
}

impl PartError {
    pub(crate) fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), detail: detail.into(), retry_after_seconds: None }
    }
}

/// What became of a composition.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The parts, by name, as their routes wrote them: numbers beyond what we can count too.
    pub parts: BTreeMap<String, Box<RawValue>>,
    /// Why some are missing or stand-ins.
    pub errors: Vec<(String, PartError)>,
    /// The parts that are there but for whom somebody stood in.
    pub degraded: Vec<String>,
    /// The required part that failed first, if one has.
    pub failed: Option<String>,
}

impl Answer {
    /// Returns the response, or the error of the required part that failed: a refusal of the caller's (4xx)
    /// keeps its status, anything else is 502, or 504 where it was late.
    pub fn into_response(self) -> kernel::Result<Response<Body>> {
        if let Some(name) = &self.failed {
            let cause = self.errors.iter().find(|(part, _)| part == name).map(|(_, error)| error.clone());
            let cause = cause.unwrap_or_else(|| PartError::new(502, "gateway.part_failed", "it failed"));
            let status = match cause.status {
                status @ 400..=499 => status,
                504 => 504,
                _ => 502,
            };
            let message = format!("the part {name} failed: {}", cause.detail);
            let error = Error::unavailable("gateway.part_failed", message).status_code(status);
            return Err(match cause.retry_after_seconds {
                Some(seconds) => error.retry_after(seconds),
                None => error,
            });
        }
        let mut names: Vec<&str> = self.errors.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(self.degraded.iter().map(String::as_str));
        names.sort_unstable();
        let degraded = HeaderValue::try_from(format!("parts=\"{}\"", names.join(" "))).ok();
        let degraded = degraded.filter(|_| !names.is_empty());
        let mut body = self.parts;
        if !self.errors.is_empty() {
            let errors: BTreeMap<String, PartError> = self.errors.into_iter().collect();
            body.insert("errors".to_owned(), written(to_raw_value(&errors))?);
        }
        let mut response = Response::new(Body::from(Box::<str>::from(written(to_raw_value(&body))?).into_string()));
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(degraded) = degraded {
            response.headers_mut().insert(DEGRADED, degraded);
        }
        Ok(response)
    }
}

fn written(text: serde_json::Result<Box<RawValue>>) -> kernel::Result<Box<RawValue>> {
    text.map_err(|error| Error::internal("a composition cannot be written").source_error(error))
}
