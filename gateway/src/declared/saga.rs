//! A declared write of several steps, each at an upstream, with what takes it back. Not for running it: that is
//! the saga engine's, which needs the database.

use serde::Deserialize;
use serde_json::Value;

/// One `[sagas.NAME]`: a POST to its path starts it. Read at the start of the process only.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SagaEntry {
    /// Where it is started.
    pub path: String,
    /// The permission that starting it takes; signed in is enough where none is named.
    pub permission: String,
    /// A line for the OpenAPI document.
    pub summary: String,
    /// Counts changes of its steps; one that runs goes on with the steps that it was started with.
    pub version: i64,
    /// The steps, in order.
    pub steps: Vec<StepEntry>,
}

/// One step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepEntry {
    /// Its name, under which later steps find its answer.
    pub name: String,
    /// The upstream that does it.
    pub upstream: String,
    /// What does it.
    #[serde(rename = "do")]
    pub run: CallEntry,
    /// What takes it back; nothing where there is nothing to take back.
    pub undo: Option<CallEntry>,
    /// How long a call may take, in milliseconds; 10 s unless said.
    pub timeout_ms: Option<u64>,
}

/// A call of a step. In braces, in path and texts of the body: `{input/a/0/b}` of what the saga was started with,
/// `{STEP/id}` of an earlier step's answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallEntry {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The JSON body.
    pub body: Option<Value>,
}
