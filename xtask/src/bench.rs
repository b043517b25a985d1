//! `cargo xtask bench`: runs a side-by-side benchmark and keeps its report.
//!
//! For: one name for "run it as it counts": in release form, with a private PostgreSQL, the machine
//! beside the numbers, kept in `docs/performance.md`. Not for: the benchmarks themselves; they are
//! the `bench` crate.

mod gateway;

use crate::budget::{self, machine};
use crate::postgres::{self, Mode};
use crate::workspace::{self, Outcome};

/// The benchmarks: the name is the bench crate's and that of the marks in the document.
const BENCHMARKS: &[(&str, &str)] = &[
    ("export", "a million ledger lines as CSV and JSON: memory, first byte, and a client that stops reading"),
    ("inventory", "list, get, create and adjust beside FastAPI and Express on one PostgreSQL; CPU time, latency"),
    ("live", "the event log, streams and sockets beside Node, tasks, and how tenants disturb each other"),
    ("sign-in", "sign-ins, token and permission checks, a flood of sign-ins, many organisations"),
];

/// What stands on the command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    name: &'static str,
    quick: bool,
    postgres: Mode,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut words = arguments.iter().map(String::as_str);
        let name = words.next().unwrap_or_default();
        let known = BENCHMARKS.iter().find(|known| known.0 == name);
        let (name, _) = known.ok_or_else(|| format!("there is no benchmark `{name}`\n\n{}", list()))?;
        let mut options = Self { name, quick: false, postgres: Mode::Wanted };
        for word in words {
            match word {
                "--quick" => options.quick = true,
                "--no-postgres" => options.postgres = Mode::Refused,
                _ => return Err(format!("unknown argument `{word}`; bench takes --quick and --no-postgres")),
            }
        }
        Ok(options)
    }
}

/// Runs the benchmark of that name.
pub fn run(arguments: &[String]) -> Outcome {
    if arguments.is_empty() {
        workspace::print(&list());
        return Ok(());
    }
    // It talks to servers only: a crate of its own, with proxies to prepare and no PostgreSQL.
    if arguments.first().is_some_and(|name| name == "gateway") {
        return gateway::run(&arguments[1..]);
    }
    let Options { name, quick, postgres } = Options::parse(arguments)?;
    workspace::run(workspace::cargo().args(["build", "--release", "--package", "bench"]))?;
    let postgres = postgres::prepare(postgres)?;
    let mut command = workspace::program(workspace::target_folder().join("release").join("bench"));
    command.arg(name).args(quick.then_some("--quick"));
    postgres.export(&mut command);
    let report = workspace::output(&mut command)?;
    let section = format!("Measured by `cargo xtask bench {name}` on {}.\n\n{report}", machine::describe());
    workspace::print(&section);
    if quick || postgres.missing().is_some() {
        println!("docs/performance.md is left as it is: a short run, or one without PostgreSQL, is not the whole.");
        return Ok(());
    }
    budget::keep(name, &section)
}

fn list() -> String {
    let lines = BENCHMARKS.iter().map(|(name, what)| format!("  {name:<10} {what}\n"));
    let gateway = "the front door's ladder beside nginx, HAProxy, Pingora, Envoy, Traefik, Caddy and two on Node";
    format!(
        "cargo xtask bench NAME [--quick] [--no-postgres]\n\n{}  {:<10} {gateway}\n  {:<10} \
         [--quick] [--rungs s1,s5] [--peers nginx,envoy] [--rounds 7] [--binary FILE]\n",
        lines.collect::<String>(),
        "gateway",
        ""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_benchmark_is_named_and_may_be_quick() {
        let expected = Options { name: "sign-in", quick: true, postgres: Mode::Refused };
        assert_eq!(parse("sign-in --quick --no-postgres").unwrap(), expected);
        assert!(parse("sing-in").unwrap_err().contains("sign-in"));
        assert!(parse("sign-in --fast").unwrap_err().contains("--fast"));
    }
}
