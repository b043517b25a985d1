//! JSON changed as it streams: members removed, renamed, set or kept alone, and the whole wrapped, in memory
//! bounded by the nesting and one key, whatever the document's size and however it is cut into chunks. Not for
//! anything that needs two places of a document at once.

mod body;
mod filter;
mod plan;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use kernel::Result;
use serde::{Deserialize, Serialize};

pub(crate) use body::JsonFilter;
pub(crate) use plan::JsonPlan;

/// What becomes of a body that is not the JSON it says it is, or is nested too deeply.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// It is cut off there: the request or the answer fails, and nothing that is to be hidden passes.
    #[default]
    Fail,
    /// It passes. Up to 64 KiB are held back until the document is known to be whole, and pass unchanged if it
    /// is not; of a longer one, what comes after the fault passes as it is.
    Pass,
}

/// Changes of JSON. Names are dotted paths of object members (`address.city`); arrays on the way are passed
/// through, each element is changed. A name that is set, or that something is renamed to, is the gateway's: a
/// member that already has it is dropped.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct JsonConfig {
    /// With any entry here, nothing else is kept.
    pub keep: Vec<String>,
    /// Members to remove.
    pub remove: Vec<String>,
    /// Path to new name, in the same object.
    pub rename: std::collections::BTreeMap<String, String>,
    /// Path to value; a text may have placeholders, and is left out where they show nothing. Objects on the way
    /// that are missing are made.
    pub set: std::collections::BTreeMap<String, serde_json::Value>,
    /// Text before the document: `{"data":`.
    pub before: String,
    /// Text after the document: `}`.
    pub after: String,
    /// What becomes of what is not JSON.
    pub on_invalid: OnInvalid,
    /// How deeply arrays and objects may be nested.
    pub max_depth: usize,
}

impl Default for JsonConfig {
    fn default() -> Self {
        Self {
            keep: Vec::new(),
            remove: Vec::new(),
            rename: std::collections::BTreeMap::new(),
            set: std::collections::BTreeMap::new(),
            before: String::new(),
            after: String::new(),
            on_invalid: OnInvalid::default(),
            max_depth: 128,
        }
    }
}

impl JsonConfig {
    /// Says what is wrong with the changes, if anything.
    pub fn check(&self) -> Result<()> {
        JsonPlan::compile(self).map(drop)
    }
}

/// Says whether a body is JSON: `application/json`, or a type that ends in `+json` (RFC 6839).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(http::HeaderValue::to_str) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let ends_in_json = essence.len() > 5 && essence.as_bytes()[essence.len() - 5..].eq_ignore_ascii_case(b"+json");
    essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("text/json") || ends_in_json
}

/// Removes what was computed over the bytes that are changed (RFC 9530 and its forerunners).
pub(crate) fn strip_digests(headers: &mut HeaderMap) {
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(name);
    }
}
