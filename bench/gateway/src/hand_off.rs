//! Portico beside itself: what it costs to hand a request to a service of its own. Not for peers.

use std::time::Duration;

use measure::Outcome;
use measure::figures::{Quartiles, short};
use measure::report::Table;

use crate::generator::{Crew, Opening, Supply};
use crate::ground::Ground;
use crate::peers::{Peer, Shape};
use crate::rungs::{Rung, get};
use crate::{Extent, say};

/// Requests a second, one at a time: what is asked for is the way, not the queue.
const PER_SECOND: f64 = 1_000.0;
/// How long the way to a service may be, in microseconds.
const GOAL: f64 = 15.0;
/// By whom each is answered.
const PATHS: &[(&str, &str)] =
    &[("the door itself", "/fixed"), ("a service in the process", "/health/live"), ("an upstream", "/128")];

/// Measures it.
pub fn measure(rung: Rung, peers: &[Peer], ground: &Ground, extent: Extent) -> Outcome<Vec<Table>> {
    if !peers.contains(&Peer::Portico) {
        return Err("only Portico has services of its own".into());
    }
    let running = Peer::Portico.start(Shape::HandOff, ground, ground.origin)?;
    let mut found: Vec<[Vec<f64>; 3]> = PATHS.iter().map(|_| Default::default()).collect();
    for round in 0..=extent.rounds {
        say(format!("  round {round} of {}", extent.rounds));
        for (place, (_, path)) in PATHS.iter().enumerate() {
            let mut supply = Supply::new(vec![get(path, None)].into());
            let mut crew = Crew::open(running.address, 1, &Opening::Http)?;
            crew.each_once(&mut supply)?;
            let before = running.process.cpu_seconds();
            let sample = crew.paced(&mut supply, PER_SECOND, extent.paced.max(Duration::from_millis(400)))?;
            if sample.failed > 0 {
                return Err(format!("{path}: {} of the answers were wrong", sample.failed).into());
            }
            // The first round is there to warm up.
            if round > 0 {
                let cpu = (running.process.cpu_seconds() - before) * 1e6 / sample.answered as f64;
                let row = [sample.latencies.within(0.5) * 1e3, sample.latencies.within(0.99) * 1e3, cpu];
                found[place].iter_mut().zip(row).for_each(|(rounds, figure)| rounds.push(figure));
            }
        }
    }
    let mut table = Table::new(rung.title, &["answered by", "p50, µs", "p99, µs", "CPU µs each"]);
    for ((by, _), rounds) in PATHS.iter().zip(&found) {
        let cells = rounds.iter().map(|rounds| Quartiles::of(rounds).to_string());
        table.row(std::iter::once((*by).to_owned()).chain(cells));
    }
    let added: Vec<f64> = found[1][0].iter().zip(&found[0][0]).map(|(service, door)| service - door).collect();
    let added = Quartiles::of(&added);
    let judged = if added.median <= GOAL { "met" } else { "**missed**" };
    table.note(format!(
        "One connection, {} requests a second, {} rounds in turns. Handing over takes {added} µs at p50, over what \
         the door answers itself: goal at most {}: {judged}. Both runtimes share one core here.",
        short(PER_SECOND),
        extent.rounds,
        short(GOAL)
    ));
    Ok(vec![table])
}
