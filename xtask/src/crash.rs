//! `cargo xtask crash`: kills Portico under load, again and again, and counts what was lost.
//!
//! For: the full number of rounds on both engines. Not for: the rounds themselves; they are
//! `portico/tests/it/crash.rs`, which `cargo xtask test` runs with its own, smaller number.

use crate::postgres;
use crate::stages::Stages;
use crate::test::Options;
use crate::workspace::{self, Outcome};

const ROUNDS: &str = "PORTICO_CRASH_ROUNDS";

/// Runs the crash tests.
pub fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let mut stages = Stages::default();
    let postgres = stages.run("prepare", || postgres::prepare(options.postgres))?;
    let rounds = std::env::var(ROUNDS).unwrap_or_else(|_| "200".into());
    println!("{ROUNDS}={rounds}");
    let mut command = workspace::cargo();
    command.args(["test", "--package", "portico", "--test", "it", "crash", "--"]);
    command.args(["--nocapture"]).args(&options.filter).env(ROUNDS, rounds);
    postgres.export(&mut command);
    let outcome = stages.run("crash", || workspace::run(&mut command));
    stages.print();
    if let Some(reason) = postgres.missing() {
        println!("NOT RUN: the crash rounds on PostgreSQL ({reason})");
    }
    outcome
}
