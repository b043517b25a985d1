//! `cargo xtask conformance realtime`: the event stream, Socket.IO, webhooks and notifications in the
//! hands of clients that others wrote, in Node and in Python.
//!
//! For: starting the servers that the suite talks to (one alone; two over a PostgreSQL of their own)
//! and naming the programs that it starts itself (Python, Redis). Not for: the checks, which are in
//! `xtask/conformance/realtime`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde_json::{Value, json};

use super::node::Suite;
use super::{python, subject};
use crate::budget::server::Server;
use crate::postgres::{self, Mode, Postgres};
use crate::workspace::{self, Outcome};

/// How many checks there are with one process, with two, and with Redis between them.
const ALONE: usize = 110;
const TWO: usize = 3;
const REDIS: usize = 3;
/// The same for both processes: what one has sealed the other opens.
const MASTER_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// The two processes over one database.
struct Two {
    servers: [Server; 2],
    operator: String,
    given: Value,
}

/// Runs the suite, or with `--only a,b` some of its sections.
pub fn run(arguments: &[String]) -> Outcome {
    let (only, arguments) = match arguments {
        [word, names, rest @ ..] if word == "--only" => (Some(names.as_str()), rest),
        all => (None, all),
    };
    let binary = subject::binary("realtime", arguments)?;
    let suite = Suite::prepare("realtime")?;
    let python = python::prepare("realtime")?;
    let (folder, postgres) = (subject::folder("realtime")?, postgres::prepare(Mode::Wanted)?);
    let smtp_port = free_port()?;

    let (server, _) = Server::start_with(&binary, &folder, &settings(smtp_port))?;
    let operator = subject::operator_token(&folder)?;
    let two = two(&binary, &postgres)?;
    let tally = suite.run(&json!({
        "base": format!("http://{}", server.address()),
        "operatorToken": operator,
        "signedIn": subject::sign_in(&server)?,
        "python": python.program,
        "packages": python.packages,
        "smtpPort": smtp_port,
        "two": two.as_ref().map(|two| &two.given),
        "only": only,
    }))?;
    workspace::print(&tally.report());
    let (mut expected, mut logs) = (ALONE, vec![(server.output()?, operator)]);
    server.stop()?;
    if let Some(two) = two {
        expected += if two.given["redis"].is_null() { TWO } else { TWO + REDIS };
        for server in two.servers {
            logs.push((server.output()?, two.operator.clone()));
            server.stop()?;
        }
    }
    match only {
        Some(_) => println!("Only some sections ran: that is not the whole suite."),
        None => tally.verdict(expected)?,
    }
    logs.iter().try_for_each(|(log, operator)| subject::quiet(log, operator))?;
    // A failed run leaves the data and, beside it, the log.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

/// Returns the settings of the server that stands alone: tokens that end within the run, our mail
/// server, and receivers of webhooks on this machine.
fn settings(smtp_port: u16) -> Vec<String> {
    vec![
        "identity.access_token_seconds=60".into(),
        format!("mail.smtp_url=\"smtp://127.0.0.1:{smtp_port}\""),
        "webhooks.allow_http=true".into(),
        "webhooks.allow_networks=[\"127.0.0.0/8\"]".into(),
    ]
}

/// Starts two processes over one database, where there is a server to make it in.
fn two(binary: &Path, postgres: &Postgres) -> Outcome<Option<Two>> {
    // Only in a server of our own is the database empty, and nobody's.
    let Postgres::Private(server) = postgres else { return Ok(None) };
    let redis =
        workspace::on_path("redis-server").map(|program| Ok::<_, String>((program, free_port()?))).transpose()?;
    let mut settings = vec![format!("store.url=\"{}\"", server.url()), format!("master_key=\"{MASTER_KEY}\"")];
    settings.extend(redis.iter().map(|(_, port)| format!("redis.url=\"redis://127.0.0.1:{port}\"")));
    let folders = [subject::folder("realtime-a")?, subject::folder("realtime-b")?];
    let (first, _) = Server::start_with(binary, &folders[0], &settings)?;
    let signed_in = subject::sign_in(&first)?;
    let operator = subject::operator_token(&folders[0])?;
    let (second, _) = Server::start_with(binary, &folders[1], &settings)?;
    let scratch = subject::folder("realtime-redis")?;
    let bases = [&first, &second].map(|server| format!("http://{}", server.address()));
    let given = json!({
        "bases": bases,
        "operatorToken": operator,
        "signedIn": signed_in,
        "redis": redis.map(|(program, port)| json!({ "program": program, "port": port, "folder": scratch })),
    });
    Ok(Some(Two { servers: [first, second], operator, given }))
}

fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port on 127.0.0.1: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_how_many_checks_there_are() {
        let (document, all) = (workspace::read("docs/conformance.md").unwrap(), ALONE + TWO + REDIS);
        assert!(document.contains(&format!("| {all}, all passed |")), "docs/conformance.md: {all} checks");
    }

    #[test]
    fn the_clients_of_the_suite_are_pinned() {
        let wanted: Value =
            serde_json::from_str(&workspace::read("xtask/conformance/realtime/package.json").unwrap()).unwrap();
        let versions = wanted["dependencies"].as_object().unwrap().values();
        assert!(versions.into_iter().all(|version| version.as_str().unwrap().bytes().all(|byte| byte != b'^')));
        let requirements = workspace::read("xtask/conformance/realtime/requirements.txt").unwrap();
        let (pins, hashes) = (requirements.matches("==").count(), requirements.matches("--hash=sha256:").count());
        assert_eq!((pins, hashes), (4, 4));
    }
}
