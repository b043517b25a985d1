//! `cargo xtask conformance jwt`: the gateway's issuers on tokens that PyJWT and joserfc make.
//!
//! For: building what judges (an example of the crate `issuers`) and handing it to the suite in
//! `xtask/conformance/jwt`. Not for: the checks, which are there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::json;

use super::python;
use super::tally::Tally;
use crate::workspace::{self, Outcome, cargo};

/// How many checks there are; a suite that runs fewer proves less than it says.
const CHECKS: usize = 797;

/// Runs the suite.
pub fn run(arguments: &[String]) -> Outcome {
    if !arguments.is_empty() {
        return Err("the suite `jwt` takes no arguments".into());
    }
    workspace::run(cargo().args(["build", "--package", "issuers", "--example", "judge", "--locked"]))?;
    let judge = workspace::target_folder().join("debug/examples/judge");
    let python = python::prepare("jwt")?;
    let mut command = workspace::program(&python.program);
    command.arg("main.py").current_dir(workspace::root().join("xtask/conformance/jwt"));
    command.env("PYTHONPATH", &python.packages).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| workspace::not_started(&command, &error))?;
    // Dropping the pipe afterwards tells the suite that this is all.
    let input = json!({ "judge": judge }).to_string();
    let sent = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let mut tally = Tally::default();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        tally.take(&line.map_err(|error| format!("the suite's output cannot be read: {error}"))?);
    }
    let status = child.wait().map_err(|error| format!("the suite is lost: {error}"))?;
    sent.map_err(|error| format!("the suite took no input: {error}"))?;
    tally.ended(status.success());
    workspace::print(&tally.report());
    tally.verdict(CHECKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_how_many_checks_there_are() {
        let document = workspace::read("docs/conformance.md").unwrap();
        assert!(document.contains(&format!("| {CHECKS}, all passed |")), "docs/conformance.md: {CHECKS} checks");
    }
}
