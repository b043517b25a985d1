//! `cargo xtask conformance tokens`: access tokens and JWKS in the hands of npm's `jose`.
//!
//! For: starting a fresh server, signing in with the code that its first start prints, and handing
//! both to the suite in `xtask/conformance/tokens`. Not for: the checks, which are there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::node::Suite;
use crate::budget::server::Server;
use crate::workspace::{self, Outcome, cargo};

/// How many checks there are; a suite that runs fewer proves less than it says.
const CHECKS: usize = 298;
/// The defaults of `identity.issuer` and `identity.audience`.
const ISSUER: &str = "portico";
const AUDIENCE: &str = "portico";
const CODE_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the suite.
pub fn run(arguments: &[String]) -> Outcome {
    let binary = match arguments {
        [] => build()?,
        [word, file] if word == "--binary" => std::path::absolute(file).map_err(|error| format!("{file}: {error}"))?,
        _ => return Err("the suite `tokens` takes only --binary FILE".into()),
    };
    let suite = Suite::prepare("tokens")?;
    let folder = workspace::target_folder().join("tmp").join("conformance-tokens-data");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;

    let (server, _) = Server::start(&binary, &folder)?;
    let signed_in = server.post("/api/auth/login", &json!({ "code": first_code(&server)? }))?;
    let operator = folder.join("operator.token");
    let operator = std::fs::read_to_string(&operator).map_err(|error| format!("no operator token: {error}"))?;
    let tally = suite.run(&json!({
        "base": format!("http://{}", server.address()),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "operatorToken": operator.trim(),
        "signedIn": signed_in,
    }))?;
    let output = server.output()?;
    server.stop()?;
    workspace::print(&tally.report());
    tally.verdict(CHECKS)?;
    quiet(&output, operator.trim())?;
    // A failed run leaves the data and, beside it, the log.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

fn build() -> Outcome<PathBuf> {
    workspace::run(cargo().args(["build", "--package", "portico", "--locked"]))?;
    Ok(workspace::target_folder().join("debug").join("portico"))
}

/// Waits for the one-use code, which is printed a moment after the first answer.
fn first_code(server: &Server) -> Outcome<String> {
    let deadline = Instant::now() + CODE_PATIENCE;
    loop {
        if let Some(code) = code_in(&server.output()?) {
            return Ok(code.to_owned());
        }
        if Instant::now() > deadline {
            return Err("the first start printed no one-use sign-in code".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the code: the one indented line behind the heading, once it is there to its end.
fn code_in(output: &str) -> Option<&str> {
    let (_, rest) = output.split_once("One-use sign-in code, until ")?;
    let (code, _) = rest.split_once("\n\n  ")?.1.split_once('\n')?;
    Some(code)
}

/// Insists that all this made the server neither stumble nor write a secret into its log.
fn quiet(output: &str, operator_token: &str) -> Outcome {
    // The beginnings of a JWT header, of a refresh token and of an API token.
    for secret in ["eyJ0eXAiOi", "eyJhbGciOi", "ptr_", "ptc_", operator_token] {
        if output.contains(secret) {
            return Err("every check passed, yet there is a token in the server's log".into());
        }
    }
    match output.lines().find(|line| line.contains("ERROR") || line.contains("panicked")) {
        Some(line) => Err(format!("every check passed, yet the server's log says: {line}")),
        None => Ok(()),
    }
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
    fn an_error_and_a_token_in_the_log_are_failures() {
        quiet("INFO request answered http.status=401", "0pe7a70r").unwrap();
        assert!(quiet("ERROR it broke", "0pe7a70r").unwrap_err().contains("it broke"));
        for secret in ["/api/auth/me?access_token=eyJ0eXAiOiJhdCtqd3Qi", "ptr_01m7", "0pe7a70r"] {
            assert!(quiet(secret, "0pe7a70r").is_err(), "{secret}");
        }
    }

    #[test]
    fn the_code_is_read_once_its_line_is_complete() {
        let output = "first start\nOne-use sign-in code, until 2026-11-21T06:10:05Z:\n\n  08adb-785a4\n\nExchange";
        assert_eq!(code_in(output), Some("08adb-785a4"));
        let end = output.find("85a4").unwrap();
        assert_eq!(code_in(&output[..end]), None);
        assert_eq!(code_in("listening"), None);
    }
}
