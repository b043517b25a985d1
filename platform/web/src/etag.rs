//! Versions as strong entity tags (RFC 9110, sections 8.8.3 and 13.1): version 3 is `"v3"`. The
//! tag is that of the resource, before a route group's shape is put around it.

use axum::extract::FromRequestParts;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::Error;

use crate::problem::Problem;

/// What `If-Match` may say, for the document.
pub const IF_MATCH_PATTERN: &str = r#"^(\*|"v[0-9]{1,18}")$"#;

/// Returns the entity tag of a version.
pub fn etag(version: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"v{version}\"")).expect("digits and quotes are valid in a header")
}

/// The version that the caller wants to change; nothing when it did not say (or said `*`).
#[derive(Clone, Copy, Debug)]
pub struct IfMatch(pub Option<i64>);

/// The versions that the caller already has.
#[derive(Clone, Debug)]
pub struct IfNoneMatch(Vec<i64>);

impl IfNoneMatch {
    /// Says whether the caller has this version.
    pub fn has(&self, version: i64) -> bool {
        self.0.contains(&version)
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn version(tag: &str) -> Option<i64> {
    tag.trim().strip_prefix("\"v")?.strip_suffix('"')?.parse().ok()
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(IF_MATCH) {
            return Ok(Self(None));
        }
        match text(&parts.headers, &IF_MATCH) {
            Some("*") => Ok(Self(None)),
            Some(tag) => version(tag).map(|version| Self(Some(version))).ok_or_else(|| {
                // A tag that we never gave, or a weak one, cannot match a strong comparison.
                Error::precondition(
                    "request.version_mismatch",
                    "If-Match does not name a current version, such as \"v3\"",
                )
                .into()
            }),
            None => {
                Err(Error::invalid("request.invalid_header", "If-Match must be an entity tag such as \"v3\"").into())
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let tags = text(&parts.headers, &IF_NONE_MATCH).unwrap_or_default();
        Ok(Self(tags.split(',').filter_map(|tag| version(tag.trim().trim_start_matches("W/"))).collect()))
    }
}
