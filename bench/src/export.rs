//! `export`: a million lines of a ledger as CSV and JSON: how much memory the server takes for it, when
//! the first byte comes, how long all of it takes; and what a client that stops reading does to the
//! database. Not for imports.

mod download;
mod ledger;
mod stalled;

use crate::figures::short;
use crate::people::{self, People};
use crate::report::Table;
use crate::server::Server;
use crate::{Outcome, Plan, process, quiet, say};

/// How often each format is taken.
const ROUNDS: usize = 3;

/// Measures and prints the report.
pub fn run(plan: &Plan) -> Outcome {
    let run = quiet::Run::begin()?;
    let lines: u64 = if plan.quick { 100_000 } else { 1_000_000 };
    let title = format!("Export of {lines} ledger lines");
    let head = ["", "size, MB", "first byte, ms", "whole, s", "memory before, MiB", "added at most, MiB"];
    let mut table = Table::new(title, &head);
    let mut stalls = Table::new(
        "A client that stops reading for 20 s while another one writes",
        &["", "written", "what it held up"],
    );
    for &engine in &plan.engines {
        let name = people::name(engine);
        let people = People::make(plan, engine, 1, 1)?;
        let token = people.tokens.first().ok_or("there is nobody")?.clone();
        let items = ledger::make_items(&Server::start(people.url())?, &token)?;
        say(format!("{name}: {lines} lines"));
        plan.runtime.block_on(ledger::fill(people.url(), lines))?;
        let server = Server::start(people.url())?;
        for round in 0..ROUNDS {
            for format in ["csv", "json"] {
                say(format!("{name}: {format}, round {}", round + 1));
                let before = process::memory(server.pid())?.0;
                process::forget_most(server.pid())?;
                let taken = download::take(server.address(), &token, format, lines)?;
                let added = process::memory(server.pid())?.1 - before;
                table.row([
                    format!("{name}, {format}, {}", round + 1),
                    short(taken.bytes as f64 / 1e6),
                    short(taken.first.as_secs_f64() * 1e3),
                    short(taken.whole.as_secs_f64()),
                    short(before),
                    short(added),
                ]);
            }
        }
        say(format!("{name}: a client that stops reading"));
        let stalled = stalled::measure(plan, &people, &server, &token, &items[0])?;
        stalls.row([name.to_owned(), stalled.written.to_string(), stalled.held_up]);
        for warning in server.warnings() {
            stalls.note(format!("{name}: the server warned: {warning}."));
        }
    }
    table.note("Resident memory, at its most during the export, above what it was before. Goal: under 64 MiB, first byte under 100 ms.");
    run.end(&[table, stalls])
}
