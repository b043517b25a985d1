//! `cargo xtask conformance typescript`: a client generated from the OpenAPI document, compiled strictly
//! and run.
//!
//! For: starting a fresh server and handing it, with its document, to the suite in
//! `xtask/conformance/typescript`. Not for: the program and its checks, which are there.

use serde_json::json;

use super::node::Suite;
use super::subject;
use crate::budget::server::Server;
use crate::workspace::{self, Outcome};

/// How many checks there are; a suite that runs fewer proves less than it says.
const CHECKS: usize = 12;

/// Runs the suite.
pub fn run(arguments: &[String]) -> Outcome {
    let binary = subject::binary("typescript", arguments)?;
    let suite = Suite::prepare("typescript")?;
    let folder = subject::folder("typescript")?;
    let document = folder.with_extension("json");
    let text = workspace::output(workspace::program(&binary).arg("openapi"))?;
    std::fs::write(&document, text).map_err(|error| error.to_string())?;

    let (server, _) = Server::start(&binary, &folder)?;
    let operator = subject::operator_token(&folder)?;
    let code = server.call("POST", "/operator/sign-in-codes", &operator, &json!({ "organization": "main" }))?;
    let tally = suite.run(&json!({
        "base": format!("http://{}", server.address()),
        "document": document,
        "code": code["code"],
    }))?;
    subject::conclude(server, &tally, CHECKS, &operator, &folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_how_many_checks_there_are() {
        let document = workspace::read("docs/conformance.md").unwrap();
        assert!(document.contains(&format!("| {CHECKS}, all passed |")), "docs/conformance.md: {CHECKS} checks");
    }

    #[test]
    fn the_generator_and_the_compiler_are_pinned() {
        let wanted = workspace::read("xtask/conformance/typescript/package.json").unwrap();
        for package in
            ["\"openapi-fetch\": \"0.17.0\"", "\"openapi-typescript\": \"7.13.0\"", "\"typescript\": \"5.9.3\""]
        {
            assert!(wanted.contains(package), "{package}: an exact version");
        }
    }
}
