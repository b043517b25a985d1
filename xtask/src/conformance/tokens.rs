//! `cargo xtask conformance tokens`: access tokens and JWKS in the hands of npm's `jose`.
//!
//! For: starting a fresh server, signing in with the code that its first start prints, and handing
//! both to the suite in `xtask/conformance/tokens`. Not for: the checks, which are there.

use serde_json::json;

use super::node::Suite;
use super::subject;
use crate::budget::server::Server;
use crate::workspace::Outcome;

/// How many checks there are; a suite that runs fewer proves less than it says.
const CHECKS: usize = 299;
/// The defaults of `identity.issuer` and `identity.audience`.
const ISSUER: &str = "portico";
const AUDIENCE: &str = "portico";

/// Runs the suite.
pub fn run(arguments: &[String]) -> Outcome {
    let binary = subject::binary("tokens", arguments)?;
    let suite = Suite::prepare("tokens")?;
    let folder = subject::folder("tokens")?;

    let (server, _) = Server::start(&binary, &folder)?;
    let signed_in = subject::sign_in(&server)?;
    let operator = subject::operator_token(&folder)?;
    let tally = suite.run(&json!({
        "base": format!("http://{}", server.address()),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "operatorToken": operator,
        "signedIn": signed_in,
    }))?;
    subject::conclude(server, &tally, CHECKS, &operator, &folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_document_says_how_many_checks_there_are() {
        let document = workspace::read("docs/conformance.md").unwrap();
        assert!(document.contains(&format!("| {CHECKS}, all passed |")), "docs/conformance.md: {CHECKS} checks");
    }
}
