//! What a composition looks like in gateway.toml. Not for checking it: that is `recipe`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One `[compositions.NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long the whole may take, in milliseconds; parts that are late then count as failed.
    pub timeout_ms: u64,
    /// How many parts are under way at a time.
    pub parallel: usize,
    /// The parts, by the name under which they stand in the answer.
    pub parts: BTreeMap<String, PartConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout_ms: 5_000, parallel: 8, parts: BTreeMap::new() }
    }
}

/// One part of a composition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartConfig {
    /// The path and query of a route of this door. In braces: `{path.NAME}` and `{query.NAME}` of the
    /// request, `{PART/a/0/b}` a value of another part's answer, which is then asked first.
    pub path: String,
    /// The method: GET, or POST for reads that take a body.
    pub method: String,
    /// The JSON body of a POST; its texts may hold the same braces.
    pub body: Option<Value>,
    /// What its failure means.
    pub mode: Mode,
    /// What stands in its place when it fails, where the mode is `fallback`.
    pub fallback: Option<Value>,
    /// How long it may take, in milliseconds; as long as the whole unless said.
    pub timeout_ms: Option<u64>,
    /// Where in its answer the wanted value is (a JSON pointer, RFC 6901); all of it unless said.
    pub pick: String,
    /// The largest answer that is taken, in bytes; 1 MiB unless said.
    pub limit_bytes: Option<usize>,
}

/// What the failure of a part means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The whole fails, and what else is under way is cancelled.
    #[default]
    Required,
    /// It is null, and the answer says why.
    Optional,
    /// Its fallback stands in its place, and the answer says why.
    Fallback,
}
