//! `cargo xtask crash`: kills Portico under load, at any moment and at named places, again and again, and
//! counts what was lost.
//!
//! For: the full number of rounds on both engines. Not for: the rounds themselves; they are
//! `portico/tests/it/crash.rs` and `fault_matrix.rs`, which `cargo xtask test` runs with smaller numbers.

use crate::postgres;
use crate::stages::Stages;
use crate::test::Options;
use crate::workspace::{self, Outcome};

const ROUNDS: &str = "PORTICO_CRASH_ROUNDS";
const SEEDS: &str = "PORTICO_FAULT_SEEDS";

/// Runs the crash tests.
pub fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let mut stages = Stages::default();
    let postgres = stages.run("prepare", || postgres::prepare(options.postgres))?;
    let mut command = workspace::cargo();
    command.args(["test", "--package", "portico", "--test", "it", "--", "--nocapture"]);
    if options.filter.is_empty() {
        command.args(["crash", "fault_matrix"]);
    }
    command.args(&options.filter);
    for (name, usual) in [(ROUNDS, "200"), (SEEDS, "1000")] {
        let wanted = std::env::var(name).unwrap_or_else(|_| usual.into());
        println!("{name}={wanted}");
        command.env(name, wanted);
    }
    postgres.export(&mut command);
    let outcome = stages.run("crash", || workspace::run(&mut command));
    stages.print();
    if let Some(reason) = postgres.missing() {
        println!("NOT RUN: the crash rounds on PostgreSQL ({reason})");
    }
    outcome
}
