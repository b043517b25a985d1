//! Whether one organisation's trouble delays another's: events that a subscriber cannot take, a flood
//! of jobs, a webhook endpoint that never answers. The same deliveries of organisation B, alone and
//! beside the trouble of A, in turns. Not for throughput.

mod dead_endpoint;
mod flood;
mod poison;

use crate::figures::{Latencies, Spread};
use crate::people::{self, People};
use crate::report::Table;
use crate::{Outcome, Plan, say};

/// How often B's thing happens each second.
const PER_SECOND: f64 = 20.0;

/// B's delays in one round: alone, and beside A's trouble.
type Delays = [Latencies; 2];

/// Measures all three.
pub fn measure(plan: &Plan, people: &[(store::Engine, People)]) -> Outcome<Table> {
    let (count, rounds) = if plan.quick { (40, 1) } else { (200, 3) };
    let head = ["", "alone: p50, ms", "p99, ms", "beside it: p50, ms", "p99, ms", "ratio of p99"];
    let mut table = Table::new("How much one organisation's trouble delays another", &head);
    for (engine, people) in people {
        let engine_name = people::name(*engine);
        let poisoned = poison::measure(plan, *engine, count, rounds)?;
        row(&mut table, &format!("{engine_name}: A's events poison a subscriber; B's event to its effect"), &poisoned);
        let flooded = flood::measure(plan, *engine, count, rounds)?;
        row(&mut table, &format!("{engine_name}: A queues 20,000 jobs; B's job to its start"), &flooded);
        say(format!("a dead endpoint, {engine_name}"));
        let dead = dead_endpoint::measure(plan, people, count, rounds)?;
        row(
            &mut table,
            &format!("{engine_name}: A's webhook endpoint never answers; B's change to its receiver"),
            &dead,
        );
    }
    table.note(format!(
        "B's thing happens {PER_SECOND} times a second, {count} times in each round. Poison: each event of A fails, 20 a \
         second on as many streams. Dead endpoint: a release server, 20 changes of A a second, each for an endpoint that \
         takes the connection and says nothing; B's delay is from the answered request to the receiver."
    ));
    Ok(table)
}

fn row(table: &mut Table, name: &str, rounds: &[Delays]) {
    let pick = |place: usize, share: f64| rounds.iter().map(|delays| delays[place].within(share)).collect::<Vec<_>>();
    table.row([
        name.to_owned(),
        Spread::of(&pick(0, 0.5)).to_string(),
        Spread::of(&pick(0, 0.99)).to_string(),
        Spread::of(&pick(1, 0.5)).to_string(),
        Spread::of(&pick(1, 0.99)).to_string(),
        Spread::ratio(&pick(1, 0.99), &pick(0, 0.99)).to_string(),
    ]);
}
