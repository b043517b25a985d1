//! Whether size shows: the same requests on a database with few organisations and on one with many,
//! in turns, and the memory of both servers. Not for load: one request at a time.

mod everybody;
mod side;

use store::Engine;

use crate::figures::{Latencies, Spread, short};
use crate::people::{self, People};
use crate::report::Table;
use crate::{Outcome, Plan, process, say};
use side::{MEASURED, Side};

/// Measures against databases with many organisations, made here; gives a table for each engine and
/// one for memory.
pub fn measure(plan: &Plan, small: &[(Engine, People)]) -> Outcome<Vec<Table>> {
    let tenants = if plan.quick { 1_000 } else { 10_000 };
    let rounds = if plan.quick { 3 } else { 9 };
    let mut memory = memory_table();
    let mut tables = Vec::new();
    for (engine, few) in small {
        let name = people::name(*engine);
        let many = People::make(plan, *engine, tenants, 1)?;
        let mut sides = [Side::open(plan, few)?, Side::open(plan, &many)?];
        for side in &sides {
            remember(&mut memory, name, format!("{} organisations, started", side.people.tenants), side.started);
        }
        say(format!("few and many organisations, {name}"));
        for round in 0..rounds {
            // Each goes first every other time.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for place in order {
                sides[place].round(plan, round)?;
            }
        }
        let mut table = table(name, &sides, few.tenants, many.tenants);
        for side in &sides {
            let when = format!("{} organisations, after these requests", side.people.tenants);
            remember(&mut memory, name, when, process::memory(side.server.pid())?);
        }
        say(format!("everybody at once, {name}"));
        table.note(everybody::measure(&sides[1])?);
        let when = format!("{tenants} organisations, after all their people came");
        remember(&mut memory, name, when, process::memory(sides[1].server.pid())?);
        let warned: Vec<String> = sides.iter().flat_map(|side| side.server.warnings()).collect();
        if !warned.is_empty() {
            table.note(format!("The servers warned: {}.", warned.join("; ")));
        }
        sides.into_iter().for_each(|side| side.close(plan));
        tables.push(table);
    }
    tables.push(memory);
    Ok(tables)
}

fn table(engine: &str, sides: &[Side; 2], few: usize, many: usize) -> Table {
    let title = format!("{few} organisations against {many}, ten people in each, {engine}");
    let (first, second) = (format!("{few}: p50, ms"), format!("{many}: p50, ms"));
    let head =
        ["", &first, &second, "ratio of p50", &format!("{few}: p99, ms"), &format!("{many}: p99, ms"), "ratio of p99"];
    let mut table = Table::new(title, &head);
    for (place, what) in MEASURED.iter().enumerate() {
        let [few, many] = sides.each_ref().map(|side| &side.rounds[place]);
        let medians = |rounds: &[Latencies]| rounds.iter().map(Latencies::median).collect::<Vec<_>>();
        let (few_p50, many_p50) = (medians(few), medians(many));
        // Over all rounds: one round has too few requests for its hundredth.
        let p99 = |rounds: &[Latencies]| {
            let mut all = Latencies::default();
            rounds.iter().for_each(|round| all.extend(round));
            all.within(0.99)
        };
        let (few_p99, many_p99) = (p99(few), p99(many));
        table.row([
            (*what).to_owned(),
            Spread::of(&few_p50).to_string(),
            Spread::of(&many_p50).to_string(),
            Spread::ratio(&many_p50, &few_p50).to_string(),
            short(few_p99),
            short(many_p99),
            short(many_p99 / few_p99),
        ]);
    }
    table
}

fn memory_table() -> Table {
    let mut table = Table::new("Memory of the server", &["", "now, MiB", "at its most, MiB"]);
    table.note("Resident memory, goal under 300 MiB. One password hash at a time takes 19 MiB of it while it runs.");
    table
}

fn remember(table: &mut Table, engine: &str, when: String, (now, most): (f64, f64)) {
    table.row([format!("{engine}, {when}"), short(now), short(most)]);
}
