//! What a collection needs beyond the document. Not for what the document says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an operation's request needs beyond its document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hint {
    /// Why it is not sent unless asked for.
    pub skip: Option<String>,
    /// Its place among the requests of its folder; those without one have 0.
    pub order: i32,
    /// The folder that it stands in instead of its tag's, such as the one that is run first.
    pub folder: Option<String>,
    /// Its body; text may name variables as `{{name}}`.
    pub body: Option<Value>,
    /// Query parameters to send.
    pub query: BTreeMap<String, String>,
    /// Path parameters, where another variable is meant than the usual one.
    pub path: BTreeMap<String, String>,
    /// Header fields to send.
    pub headers: BTreeMap<String, String>,
    /// The answers that are right, where a success is not; say why in `why`.
    pub expect: Option<Vec<u16>>,
    /// Why another answer than a success is right.
    pub why: Option<String>,
    /// Variables to set from the answer: name and path, such as `data.id`.
    pub capture: BTreeMap<String, String>,
    /// Lines of script that run before it is sent.
    pub before: Vec<String>,
    /// An expression over `inner`, the body without its envelope: it is asked again, ten times a second
    /// and a hundred times at most, until that holds.
    pub until: Option<String>,
    /// The variable that holds the token, where it is not the scheme's own.
    pub token: Option<String>,
}

/// What a collection needs beyond the document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hints {
    /// The first values of variables.
    pub variables: BTreeMap<String, String>,
    /// Whether a request that has no `expect` must succeed; otherwise any declared answer is right.
    pub succeed: bool,
    /// The folders that come first, before those of the tags in the document's order.
    pub first: Vec<String>,
    /// The folders that come last.
    pub last: Vec<String>,
    /// By operation id.
    pub operations: BTreeMap<String, Hint>,
    /// Requests beside those of the document, such as another sign-in at the end: operation id and hint.
    pub again: Vec<Again>,
}

/// An operation that is asked for once more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Again {
    /// Its id.
    pub operation: String,
    /// The request's name.
    pub name: String,
    /// What it needs.
    pub hint: Hint,
}
