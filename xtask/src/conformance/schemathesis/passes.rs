//! Which operations are fuzzed together, and with whose token.
//!
//! For: keeping apart what would end a run before its time: ending sessions, turning off what others use,
//! suspending the organisation, withdrawing keys. Every operation of the document is in one pass. Not for:
//! single cases, which schemathesis makes.

use std::path::Path;

use serde_json::Value;

use super::people::Who;
use crate::workspace::{self, Outcome};

/// An operation of the document.
pub struct Operation {
    pub id: String,
    pub label: String,
    operator: bool,
}

/// Operations that are fuzzed together.
pub struct Pass {
    pub name: &'static str,
    pub who: Who,
    /// The configuration, beside `hooks.py`.
    pub config: &'static str,
    takes: fn(&Operation) -> bool,
}

/// The passes in their order: what spoils more comes later.
pub const PASSES: &[Pass] = &[
    // They end the session that asks; schemathesis signs in anew when a token works no longer.
    Pass { name: "sessions", who: Who::Nobody, config: "sessions.toml", takes: ends_sessions },
    Pass { name: "members", who: Who::Administrator, config: "schemathesis.toml", takes: is_usual },
    // What is turned off answers 503, and rightly; so this comes after what may be turned off.
    Pass { name: "switches", who: Who::Administrator, config: "schemathesis.toml", takes: turns_off },
    // Among other things it suspends the organisation that it works in.
    Pass { name: "superadmins", who: Who::Superadmin, config: "schemathesis.toml", takes: is_for_superadmins },
    // Among other things it withdraws the keys that all tokens are signed with.
    Pass { name: "operators", who: Who::Nobody, config: "schemathesis.toml", takes: |operation| operation.operator },
];

const SUPERADMINS: [&str; 3] = [" /api/v1/tenants", " /api/v1/platform/", " /api/auth/elevate"];

fn ends_sessions(operation: &Operation) -> bool {
    ["identity_sign_out", "identity_revoke_session", "identity_revoke_other_sessions"].contains(&operation.id.as_str())
}

fn turns_off(operation: &Operation) -> bool {
    operation.id == "flags_disable_flag"
}

fn is_for_superadmins(operation: &Operation) -> bool {
    !operation.operator && SUPERADMINS.iter().any(|part| operation.label.contains(part))
}

fn is_usual(operation: &Operation) -> bool {
    !(operation.operator || ends_sessions(operation) || turns_off(operation) || is_for_superadmins(operation))
}

impl Pass {
    /// Says whether the operation is fuzzed in this pass.
    pub fn takes(&self, operation: &Operation) -> bool {
        (self.takes)(operation)
    }

    /// Returns the reason that each request gives for itself; superadmins have to.
    pub fn reason(&self) -> &'static str {
        if self.who == Who::Superadmin { "the suite of schemathesis" } else { "" }
    }
}

/// Returns the operations of the document that this binary writes, or those that `only` names.
pub fn operations(binary: &Path, only: Option<&str>) -> Outcome<Vec<Operation>> {
    let document = workspace::output(workspace::program(binary).arg("openapi"))?;
    let document: Value =
        serde_json::from_str(&document).map_err(|error| format!("the document is no JSON: {error}"))?;
    let found: Vec<Operation> =
        read(&document).filter(|(named, _)| only.is_none_or(named)).map(|(_, found)| found).collect();
    if found.is_empty() { Err("the document has no such operation".into()) } else { Ok(found) }
}

/// Reads the document; with each operation comes whether a word names it: its id, its tag, or a part of its path.
fn read(document: &Value) -> impl Iterator<Item = (impl Fn(&str) -> bool, Operation)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, operation)| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (id, tag) = (text(&operation["operationId"]), text(&operation["tags"][0]));
            let operator = workspace::list(&operation["security"]).iter().any(|way| way.get("operator").is_some());
            let label = format!("{} {path}", method.to_uppercase());
            let named = {
                let id = id.clone();
                move |word: &str| word == id || word == tag || (word.starts_with('/') && path.contains(word))
            };
            (named, Operation { id, label, operator })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_one_pass() {
        let document = workspace::read("docs/openapi/portico.json").unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
        let mut count = 0;
        for (_, operation) in read(&document) {
            let passes: Vec<&str> = PASSES.iter().filter(|pass| pass.takes(&operation)).map(|pass| pass.name).collect();
            assert_eq!(passes.len(), 1, "{}: {passes:?}", operation.label);
            count += 1;
        }
        assert!(count > 90);
    }

    #[test]
    fn every_part_of_a_path_that_varies_says_what_it_holds() {
        let document = workspace::read("docs/openapi/portico.json").unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let parameters = methods.as_object().unwrap().values().flat_map(|it| workspace::list(&it["parameters"]));
            for parameter in parameters.filter(|parameter| parameter["in"] == "path") {
                assert!(
                    parameter["schema"]["pattern"].is_string(),
                    "{path}: {}; see Operation::path",
                    parameter["name"]
                );
            }
        }
    }

    #[test]
    fn an_operation_is_named_by_id_tag_or_path() {
        let document = serde_json::json!({ "paths": { "/api/things/{id}": { "get": {
            "operationId": "shop_get_thing", "tags": ["shop"], "security": [{ "operator": [] }],
        } } } });
        let (named, operation) = read(&document).next().unwrap();
        assert!(operation.operator && operation.label == "GET /api/things/{id}");
        for (word, expected) in [("shop", true), ("shop_get_thing", true), ("/api/things", true), ("things", false)] {
            assert_eq!(named(word), expected, "{word}");
        }
    }
}
