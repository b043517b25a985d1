//! `cargo xtask lint`: everything that can be said about the code without running the tests.
//!
//! For: one list of checks, quick ones first, all of them told even when one fails. Not for:
//! repairing; each message says what to do.

mod arrows;
mod contract_growth;
mod dependencies;
mod duplicates;
mod licence;

use crate::openapi;
use crate::stages::Stages;
use crate::workspace::{self, Outcome, cargo};

/// A check says in a few words what it looked at, or what is wrong.
type Check = (&'static str, fn() -> Outcome<String>);

const CHECKS: &[Check] = &[
    ("format", format),
    // Which crate may depend on which.
    ("arrows", arrows::check),
    // The tables are well-formed and have lost nothing.
    ("contract", contract_growth::check),
    // Licences, bans, sources, two majors of one crate.
    ("dependencies", dependencies::check),
    ("clippy", clippy),
    // Last: it builds the binary.
    ("openapi", openapi::check),
];

/// Runs all checks, or the named ones.
pub fn run(arguments: &[String]) -> Outcome {
    let names = || CHECKS.iter().map(|check| check.0).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = arguments.iter().find(|name| CHECKS.iter().all(|check| check.0 != **name)) {
        return Err(format!("there is no check `{unknown}`; there are: {}", names()));
    }
    let mut stages = Stages::default();
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if !arguments.is_empty() && !arguments.iter().any(|wanted| wanted == name) {
            continue;
        }
        match stages.run(name, check) {
            Ok(looked_at) => println!("{name}: {looked_at}"),
            Err(problem) => {
                println!("{name}: {problem}");
                failed.push(*name);
            }
        }
    }
    stages.print();
    if failed.is_empty() { Ok(()) } else { Err(format!("lint failed: {}", failed.join(", "))) }
}

fn format() -> Outcome<String> {
    workspace::run(cargo().args(["fmt", "--all", "--check"]))
        .map(|()| "as rustfmt writes it".into())
        .map_err(|error| format!("{error}\nRun `cargo fmt --all`."))
}

fn clippy() -> Outcome<String> {
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    workspace::run(&mut command).map(|()| "no warnings".into())
}
