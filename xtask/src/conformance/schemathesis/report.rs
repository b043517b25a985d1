//! What the passes found, counted.
//!
//! For: believing a run only when every operation was tried and schemathesis went to its end. Not for: single
//! failures, which schemathesis prints with a line to repeat them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::passes::{Operation, Pass};
use crate::workspace::{Outcome, list};

/// Operations that no pass brings to success, each with the reason.
const OUT_OF_REACH: &[(&str, &str)] = &[
    ("identity_confirm_registration", "only a letter has the code"),
    ("identity_reset_password", "only a letter has the code"),
    ("identity_refresh_session", "the fuzzer makes up tokens; the suite `tokens` has real ones"),
    ("identity_remove_member", "the only member is the last administrator, who stays"),
    ("notifications_ask_to_unsubscribe", "only a letter has the token"),
    ("notifications_unsubscribe", "only a letter has the token"),
    ("notifications_open_socket", "it is no WebSocket; the suite `realtime` has one"),
];

/// What came of one pass.
pub struct Outcomes {
    /// By operation and status, as `hooks.py` counted them.
    pub answers: Value,
    /// The report of schemathesis.
    pub found: Value,
    /// Whether it ended well.
    pub succeeded: bool,
}

/// The counts of a run.
#[derive(Default)]
pub struct Report {
    lines: Vec<String>,
    /// Failures by check.
    failures: BTreeMap<String, u64>,
    tried: BTreeSet<String>,
    succeeded: BTreeSet<String>,
    cases: u64,
    wrong: Vec<String>,
}

impl Report {
    /// Takes what came of a pass.
    pub fn add(&mut self, engine: &str, pass: &Pass, outcomes: Outcomes) -> Outcome {
        let name = format!("{engine} {}", pass.name);
        let operations = outcomes.answers.as_object().ok_or("hooks.py counted nothing")?;
        let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
        for (label, found) in operations {
            self.tried.insert(label.clone());
            for (status, count) in found.as_object().into_iter().flatten() {
                *statuses.entry(status).or_default() += count.as_u64().unwrap_or_default();
                if status.starts_with(['2', '3']) {
                    self.succeeded.insert(label.clone());
                }
            }
        }
        let cases: u64 = statuses.values().sum();
        self.cases += cases;
        let shares: Vec<String> = statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        self.lines.push(format!("{name:<22} {} operations, {cases} answers ({})", operations.len(), shares.join(", ")));
        for failure in list(&outcomes.found["failures"]) {
            let title = failure["title"].as_str().unwrap_or_default().to_owned();
            *self.failures.entry(title).or_default() += failure["count"].as_u64().unwrap_or(1);
        }
        if outcomes.found["complete"] != true {
            self.wrong.push(format!("{name}: schemathesis did not come to its end"));
        } else if !outcomes.succeeded {
            self.wrong.push(format!("{name}: schemathesis reports failures"));
        }
        Ok(())
    }

    /// Takes what a server's log says.
    pub fn log(&mut self, engine: &str, quiet: Outcome) {
        self.wrong.extend(quiet.err().map(|error| format!("{engine}: {error}")));
    }

    /// Returns the closing report.
    pub fn text(&self, wanted: &[Operation]) -> String {
        let mut lines = vec![String::new()];
        lines.extend(self.lines.iter().cloned());
        let found: u64 = self.failures.values().sum();
        lines.push(format!("{} operations tried, {} answers, {found} failures", self.tried.len(), self.cases));
        lines.extend(self.failures.iter().map(|(check, count)| format!("FAIL   {check}: {count}")));
        for operation in wanted.iter().filter(|operation| !self.succeeded.contains(&operation.label)) {
            let known = OUT_OF_REACH.iter().find(|(id, _)| *id == operation.id);
            let why = known.map_or("nothing that was sent was right", |(_, why)| why);
            lines.push(format!("note   {} was never answered with success: {why}", operation.label));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Says whether the run proves something.
    pub fn verdict(&self, wanted: &[Operation]) -> Outcome {
        let missing = wanted.iter().filter(|operation| !self.tried.contains(&operation.label));
        let missing = missing.map(|operation| format!("{} was not tried", operation.label));
        let wrong: Vec<String> = self.wrong.iter().cloned().chain(missing).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}
