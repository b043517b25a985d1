//! `cargo xtask conformance inventory`: the inventory suite on real data, over SQLite and PostgreSQL.
//!
//! For: starting the servers, finding the purchases that are imported, and handing both to the suite in
//! `xtask/conformance/inventory`. Not for: the checks, which are there, as is the independent
//! computation that the analytics are held against.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use super::tally::Tally;
use super::{python, subject};
use crate::budget::server::Server;
use crate::postgres::{self, Mode, Postgres};
use crate::workspace::{self, Outcome};

/// How many checks there are on each engine.
const CHECKS: usize = 78;
/// Where the purchases are, seen from the folder that the checkout is in.
const PURCHASES: &str = "shared/data/inventory/cdnow_dev.csv";

/// Runs the suite.
pub fn run(arguments: &[String]) -> Outcome {
    let binary = subject::binary("inventory", arguments)?;
    let python = python::prepare("inventory")?;
    let data = purchases();
    match &data {
        Some(_) => println!("Data: ../{PURCHASES}"),
        None => println!("Data: SKIPPED, there is no ../{PURCHASES}; made purchases of the same shape stand in"),
    }
    let postgres = postgres::prepare(Mode::Wanted)?;
    let mut engines = vec![("sqlite", Vec::new())];
    // Only in a server of our own is the database empty, and nobody's.
    match &postgres {
        Postgres::Private(server) => engines.push(("postgres", vec![format!("store.url=\"{}\"", server.url())])),
        _ => println!("PostgreSQL: SKIPPED, there is no server of our own"),
    }
    let mut tallies = Vec::new();
    for (engine, mut settings) in engines {
        settings.push("identity.registration=\"open\"".to_owned());
        let folder = subject::folder(&format!("inventory-{engine}"))?;
        let (server, _) = Server::start_with(&binary, &folder, &settings)?;
        let operator = subject::operator_token(&folder)?;
        let signed_in = subject::sign_in(&server)?;
        let input = json!({
            "base": format!("http://{}", server.address()),
            "token": signed_in["accessToken"],
            "engine": engine,
            "data": data,
        });
        tallies.push(suite(&python, &input)?);
        let log = server.output()?;
        server.stop()?;
        subject::quiet(&log, &operator)?;
        // A failed run leaves the data and, beside it, the log.
        let _ = std::fs::remove_dir_all(&folder);
    }
    tallies.iter().for_each(|tally| workspace::print(&tally.report()));
    tallies.iter().try_for_each(|tally| tally.verdict(CHECKS))
}

/// Returns the file with the purchases, where it lies beside the checkout.
fn purchases() -> Option<PathBuf> {
    let file = workspace::root().parent()?.join(PURCHASES);
    file.is_file().then_some(file)
}

/// Runs the suite against one server.
fn suite(python: &python::Python, input: &Value) -> Outcome<Tally> {
    let mut command = workspace::program(&python.program);
    command.arg("main.py").current_dir(workspace::root().join("xtask/conformance/inventory"));
    command.env("PYTHONPATH", &python.packages).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| workspace::not_started(&command, &error))?;
    // Dropping the pipe afterwards tells the suite that this is all.
    let sent = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.to_string().as_bytes()));
    let mut tally = Tally::default();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let line = line.map_err(|error| format!("the suite's output cannot be read: {error}"))?;
        if tally.take(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().map_err(|error| format!("the suite is lost: {error}"))?;
    sent.map_err(|error| format!("the suite took no input: {error}"))?;
    tally.ended(status.success());
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_how_many_checks_there_are() {
        let document = workspace::read("docs/conformance.md").unwrap();
        let all = 2 * CHECKS;
        assert!(document.contains(&format!("| {all}, all passed |")), "docs/conformance.md: {all} checks");
    }

    #[test]
    fn the_client_of_the_suite_is_pinned() {
        let requirements = workspace::read("xtask/conformance/inventory/requirements.txt").unwrap();
        assert_eq!(requirements.matches("==").count(), requirements.matches("--hash=sha256:").count());
        assert!(requirements.contains("standardwebhooks==1."));
    }
}
