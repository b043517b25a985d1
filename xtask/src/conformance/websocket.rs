//! `cargo xtask conformance websocket`: Autobahn's fuzzing client against an echo server, directly and through
//! Portico, case by case.
//!
//! For: starting the echo server, npm's `ws`, and Portico in front of it. Not for: judging the server; npm's `ws` is
//! what it is.

mod comparison;
mod wstest;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use self::comparison::Comparison;
use self::wstest::Wstest;
use super::node::Suite;
use super::subject;
use crate::budget::server::Server;
use crate::workspace::{self, Outcome};

const DIRECT: &str = "direct";
const PROXIED: &str = "proxied";
const NAME: &str = "websocket";

/// An echo server behind a public route.
const GATEWAY: &str = r#"[upstreams.echo]
servers = ["http://@ORIGIN@"]

[sockets.echo]
max_per_address = 100000

[[routes]]
path = "/echo"
methods = ["GET"]
upstream = "echo"
access = "public"
websocket = true
socket = "echo"
"#;

/// A program that is stopped when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the suite, or with `--cases 1.*,7.*` a part of it.
pub fn run(arguments: &[String]) -> Outcome {
    let (cases, arguments) = match arguments {
        [word, names, rest @ ..] if word == "--cases" => (names.split(',').map(str::to_owned).collect(), rest),
        all => (vec!["*".to_owned()], all),
    };
    let binary = subject::binary(NAME, arguments)?;
    let wstest = Wstest::prepare()?;
    Suite::prepare(NAME)?;
    let mut echo = workspace::program("node");
    echo.arg("main.mjs").current_dir(workspace::target_folder().join("tools/conformance-websocket"));
    let (echo, origin) = start(echo)?;

    let folder = subject::folder(NAME)?;
    let (file, data) = (folder.join("gateway.toml"), folder.join("data"));
    std::fs::create_dir_all(&data).map_err(|error| error.to_string())?;
    std::fs::write(&file, GATEWAY.replace("@ORIGIN@", &origin)).map_err(|error| error.to_string())?;
    let (server, _) = Server::start_with(&binary, &data, &[format!("gateway.file=\"{}\"", file.display())])?;
    let operator = subject::operator_token(&data)?;

    let reports = reports()?;
    let servers = [(DIRECT, format!("ws://{origin}")), (PROXIED, format!("ws://{}/echo", server.address()))];
    wstest.run(&reports, &servers, &cases)?;
    let output = server.output()?;
    server.stop()?;
    drop(echo);
    let index = std::fs::read_to_string(reports.join("index.json")).map_err(|error| format!("no report: {error}"))?;
    let index: Value = serde_json::from_str(&index).map_err(|error| format!("the report is not JSON: {error}"))?;
    let comparison = Comparison::of(&index)?;
    workspace::print(&comparison.table());
    comparison.verdict(cases == ["*"])?;
    subject::quiet(&output, &operator)?;
    // A failed run leaves the log.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

/// Returns an empty folder for Autobahn's reports.
fn reports() -> Outcome<PathBuf> {
    let reports = workspace::target_folder().join("tmp/conformance-websocket");
    let _ = std::fs::remove_dir_all(&reports);
    std::fs::create_dir_all(&reports).map_err(|error| error.to_string())?;
    Ok(reports)
}

/// Starts a program that says where it listens.
fn start(mut command: Command) -> Outcome<(Running, String)> {
    let child = command.stdout(Stdio::piped()).spawn().map_err(|error| workspace::not_started(&command, &error))?;
    let mut running = Running(child);
    let mut line = String::new();
    let output = running.0.stdout.take().ok_or("a program without output")?;
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
    Ok((running, address.ok_or(format!("{} did not say where it listens", workspace::describe(&command)))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_the_suite_are_pinned() {
        let requirements = workspace::read("xtask/conformance/websocket/requirements.txt").unwrap();
        let (pins, hashes) = (requirements.matches("==").count(), requirements.matches("--hash=sha256:").count());
        assert_eq!((pins, hashes), (32, 32));
        assert!(workspace::read("xtask/conformance/websocket/package.json").unwrap().contains("\"ws\": \"8.23.0\""));
    }
}
