//! `cargo xtask conformance schemathesis`: every operation of the OpenAPI document in the hands of a fuzzer
//! that knows nothing of Portico but that document.
//!
//! For: starting the servers (one over SQLite, one over PostgreSQL), signing in, and running the passes one
//! after the other. Not for: what schemathesis is told, which is in `xtask/conformance/schemathesis`.

mod passes;
mod people;
mod report;

use std::path::Path;

use super::{python, subject};
use crate::budget::server::Server;
use crate::postgres::{self, Mode, Postgres};
use crate::workspace::{self, Outcome};
use passes::{Operation, Pass};
use people::People;
use report::{Outcomes, Report};

/// How many cases the fuzzing phase makes of each operation, unless said.
const EXAMPLES: u32 = 20;
/// The same cases in every run, unless said.
const SEED: u32 = 5;

/// What the command line asks for.
struct Asked {
    only: Option<String>,
    examples: u32,
    seed: u32,
    binary: Vec<String>,
}

/// Runs the suite, or with `--only` the operations of a service, of a path, or one by its id.
pub fn run(arguments: &[String]) -> Outcome {
    let asked = read(arguments)?;
    let binary = subject::binary("schemathesis", &asked.binary)?;
    let python = python::prepare("schemathesis")?;
    let operations = passes::operations(&binary, asked.only.as_deref())?;
    let scratch = subject::folder("schemathesis")?;
    println!("{} operations, {} examples of each, seed {}", operations.len(), asked.examples, asked.seed);

    let postgres = postgres::prepare(Mode::Wanted)?;
    let mut engines = vec![("sqlite", Vec::new())];
    // Only in a server of our own is the database empty, and nobody's.
    if let Postgres::Private(server) = &postgres {
        engines.push(("postgres", vec![format!("store.url=\"{}\"", server.url())]));
    }
    let mut report = Report::default();
    for (engine, settings) in engines {
        let folder = subject::folder(&format!("schemathesis-{engine}"))?;
        let (server, _) = Server::start_with(&binary, &folder, &[settings, common_settings()].concat())?;
        let people = People::first(&server, &folder)?;
        for pass in passes::PASSES {
            let chosen: Vec<&Operation> = operations.iter().filter(|operation| pass.takes(operation)).collect();
            if !chosen.is_empty() {
                let place = scratch.join(format!("{engine}-{}", pass.name));
                report.add(engine, pass, fuzz(&python, &asked, &server, &people, pass, &chosen, &place)?)?;
            }
        }
        let log = server.output()?;
        server.stop()?;
        report.log(engine, subject::quiet(&log, &people.operator));
    }
    workspace::print(&report.text(&operations));
    println!("Reports of schemathesis: {}", workspace::short(&scratch));
    report.verdict(&operations)
}

/// Returns the settings that both servers have: proxies may say who asks, so that limits by network do not end
/// the run; webhooks may go to closed ports of this machine; and whoever registers is in.
fn common_settings() -> Vec<String> {
    [
        "server.trusted_proxies=[\"127.0.0.0/8\"]",
        "webhooks.allow_http=true",
        "webhooks.allow_networks=[\"127.0.0.0/8\"]",
        "identity.registration=\"open\"",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn read(arguments: &[String]) -> Outcome<Asked> {
    let mut asked = Asked { only: None, examples: EXAMPLES, seed: SEED, binary: Vec::new() };
    let mut rest = arguments;
    while let [word, value, more @ ..] = rest {
        let number = || value.parse().map_err(|_| format!("{word} takes a number"));
        match word.as_str() {
            "--only" => asked.only = Some(value.clone()),
            "--examples" => asked.examples = number()?,
            "--seed" => asked.seed = number()?,
            _ => asked.binary.extend([word.clone(), value.clone()]),
        }
        rest = more;
    }
    asked.binary.extend_from_slice(rest);
    Ok(asked)
}

/// Runs one pass and returns what came of it.
fn fuzz(
    python: &python::Python,
    asked: &Asked,
    server: &Server,
    people: &People,
    pass: &Pass,
    chosen: &[&Operation],
    place: &Path,
) -> Outcome<Outcomes> {
    std::fs::create_dir_all(place).map_err(|error| error.to_string())?;
    let counted = place.join("counted.json");
    let mut command = workspace::program(&python.program);
    // Hypothesis keeps what it found last beside it; here every run begins anew.
    command.current_dir(place).env("PYTHONPATH", &python.packages).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PORTICO_COUNTED", &counted).env("PORTICO_OPERATOR", &people.operator);
    command.env("PORTICO_BEARER", people.token(server, pass.who)?).env("PORTICO_REASON", pass.reason());
    command.env("PORTICO_EMAIL", people::EMAIL).env("PORTICO_PASSWORD", people::PASSWORD);
    let told = workspace::root().join("xtask/conformance/schemathesis");
    command.env("SCHEMATHESIS_HOOKS", told.join("hooks.py"));
    command.args(["-m", "schemathesis.cli", "--config-file"]).arg(told.join(pass.config));
    command.arg("run").arg(format!("http://{}/openapi.json", server.address()));
    command.args(["--no-color", "--warnings", "off", "--report", "junit", "--report-dir"]).arg(place);
    command.args(["--max-examples", &asked.examples.to_string(), "--seed", &asked.seed.to_string()]);
    command.args(chosen.iter().flat_map(|operation| ["--include-operation-id", &operation.id]));
    let output = place.join("output.txt");
    let file = std::fs::File::create(&output).map_err(|error| error.to_string())?;
    println!("{}: {} operations", workspace::short(place), chosen.len());
    command.arg("--report-ndjson-path").arg(place.join("calls.ndjson"));
    let found = place.join("report.json");
    command.arg("--report-json-path").arg(&found);
    let status = command.stdout(file).status().map_err(|error| workspace::not_started(&command, &error))?;
    let text = std::fs::read_to_string(&output).map_err(|error| error.to_string())?;
    if !status.success() {
        workspace::print(&text);
    }
    // Written at the end: without them schemathesis broke off, or found nothing to do.
    let read = |file: &Path| {
        let text = std::fs::read_to_string(file).map_err(|_| format!("no end: {}", workspace::short(&output)))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", workspace::short(file)))
    };
    Ok(Outcomes { answers: read(&counted)?, found: read(&found)?, succeeded: status.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let words = ["--only", "flags", "--binary", "x", "--examples", "7"].map(str::to_owned);
        let asked = read(&words).unwrap();
        assert_eq!((asked.only.as_deref(), asked.examples, asked.seed), (Some("flags"), 7, SEED));
        assert_eq!(asked.binary, ["--binary", "x"]);
        assert!(read(&["--seed".to_owned(), "x".to_owned()]).is_err());
    }

    #[test]
    fn schemathesis_is_pinned() {
        let requirements = workspace::read("xtask/conformance/schemathesis/requirements.txt").unwrap();
        assert!(requirements.contains("schemathesis==4.32.5 "));
        let lines = requirements.lines().filter(|line| !line.starts_with(' '));
        assert!(lines.clone().count() > 20 && lines.clone().all(|line| line.contains("==")));
    }
}
