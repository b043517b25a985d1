//! The server that a suite looks at: its binary, its data folder, the first sign-in, and what its log
//! may say.
//!
//! For: what all suites do before and after. Not for: starting it; see `budget/server.rs`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::tally::Tally;
use crate::budget::server::Server;
use crate::workspace::{self, Outcome, cargo};

const CODE_PATIENCE: Duration = Duration::from_secs(10);

/// Returns the binary that the arguments name, or builds one.
pub fn binary(suite: &str, arguments: &[String]) -> Outcome<PathBuf> {
    match arguments {
        [] => build(),
        [word, file] if word == "--binary" => std::path::absolute(file).map_err(|error| format!("{file}: {error}")),
        _ => Err(format!("the suite `{suite}` takes only --binary FILE")),
    }
}

/// Returns an empty folder for a server's data.
pub fn folder(name: &str) -> Outcome<PathBuf> {
    let folder = workspace::target_folder().join("tmp").join(format!("conformance-{name}-data"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Signs in with the code that the first start prints.
pub fn sign_in(server: &Server) -> Outcome<Value> {
    server.post("/api/auth/login", &json!({ "code": first_code(server)? }))
}

/// Returns the operator token that the first start left in the data folder.
pub fn operator_token(folder: &Path) -> Outcome<String> {
    let token = std::fs::read_to_string(folder.join("operator.token"));
    token.map(|token| token.trim().to_owned()).map_err(|error| format!("no operator token: {error}"))
}

/// Ends a suite that had one server: all checks ran and passed, and the log is quiet. What failed leaves the
/// data and, beside it, the log.
pub fn conclude(server: Server, tally: &Tally, checks: usize, operator: &str, folder: &Path) -> Outcome<()> {
    let output = server.output()?;
    server.stop()?;
    workspace::print(&tally.report());
    tally.verdict(checks)?;
    quiet(&output, operator)?;
    let _ = std::fs::remove_dir_all(folder);
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
pub fn quiet(output: &str, operator_token: &str) -> Outcome {
    // The beginnings of a JWT header, of a refresh token, of an API token, of a ticket and of a webhook's secret.
    for secret in ["eyJ0eXAiOi", "eyJhbGciOi", "ptr_", "ptc_", "tkt_", "whsec_", operator_token] {
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
