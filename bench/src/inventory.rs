//! `inventory`: list, get, create and adjust over HTTP, beside the same small service in FastAPI and in
//! Express, on one PostgreSQL; Portico on SQLite too. Reads top to bottom. Not for what is asked of
//! them, nor for how it is written down.

pub mod bare;
mod check;
mod databases;
mod load;
mod peers;
mod pinned;
mod requests;
mod system;
mod tables;

use std::time::Duration;

use store::Engine;

use crate::{Outcome, Plan, quiet, say};
use databases::{Databases, PortsOfCall};
use load::Sample;
use peers::{Express, FastApi};
use pinned::Cores;
use requests::Operation;
use system::{Kind, System};

/// How long, and how often, each operation is measured on each system.
#[derive(Clone, Copy, Debug)]
struct Extent {
    saturated: Duration,
    saturated_rounds: usize,
    paced: Duration,
    rounds: usize,
}

/// What was found: for each system, for each operation, a sample of each round.
#[derive(Default)]
struct Found {
    saturated: Vec<Vec<Vec<Sample>>>,
    paced: Vec<Vec<Vec<Sample>>>,
}

/// Measures everything and prints the report.
pub fn run(plan: &Plan) -> Outcome {
    if !plan.engines.contains(&Engine::Postgres) {
        return Err("this benchmark needs PostgreSQL".into());
    }
    let quiet = quiet::Run::begin()?;
    let (fast_api, express) = (FastApi::install()?, Express::install()?);
    let databases = Databases::make(plan)?;
    let cores = Cores::split(databases.postgres());
    let mut systems = start(&databases, &fast_api, &express, cores)?;
    let extent = match plan.quick {
        true => Extent {
            saturated: Duration::from_millis(700),
            saturated_rounds: 1,
            paced: Duration::from_millis(1_200),
            rounds: 1,
        },
        false => {
            Extent { saturated: Duration::from_secs(2), saturated_rounds: 3, paced: Duration::from_secs(4), rounds: 5 }
        }
    };
    let found = measure(&mut systems, &databases, extent)?;
    let peers = format!("{}; {}", fast_api.names(), express.names());
    let tables = tables::write(&systems, &found, extent, cores, &peers);
    drop(systems);
    quiet.end(&tables)
}

/// Starts all systems on the application's core, looks at each idle, and lets none but the one that is
/// measured run from then on.
fn start(databases: &Databases, fast_api: &FastApi, express: &Express, cores: Cores) -> Outcome<Vec<System>> {
    let PortsOfCall { full, bare, sqlite, fast_api: first_peer, express: second_peer } = databases.ports();
    cores.as_application();
    let mut systems = vec![
        System::portico(Kind::Portico, full)?,
        System::bare(bare)?,
        System::portico(Kind::Sqlite, sqlite)?,
        System::peer(Kind::FastApi, first_peer, |url| fast_api.start(url))?,
        System::peer(Kind::Express, second_peer, |url| express.start(url))?,
    ];
    cores.as_load();
    systems.iter().for_each(System::pause);
    for system in &mut systems {
        system.resume();
        system.settle(databases.postgres())?;
        system.pause();
    }
    Ok(systems)
}

fn measure(systems: &mut [System], databases: &Databases, extent: Extent) -> Outcome<Found> {
    let postgres = databases.postgres();
    let empty = || vec![vec![Vec::new(); Operation::ALL.len()]; systems.len()];
    let mut found = Found { saturated: empty(), paced: empty() };
    for round in 0..extent.saturated_rounds {
        say(format!("as fast as they go, round {} of {}", round + 1, extent.saturated_rounds));
        check::alike(systems)?;
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            for number in in_turn(systems.len(), round) {
                let sample = systems[number]
                    .running(|system| load::saturated(system, operation, round, extent.saturated, postgres))?;
                found.saturated[number][place].push(sample);
            }
        }
    }
    for round in 0..extent.rounds {
        say(format!("at equal rate, round {} of {}", round + 1, extent.rounds));
        check::alike(systems)?;
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            for number in in_turn(systems.len(), round) {
                let sample =
                    systems[number].running(|system| load::paced(system, operation, round, extent.paced, postgres))?;
                found.paced[number][place].push(sample);
            }
        }
    }
    Ok(found)
}

/// Returns the order of a round: each goes first in its turn.
fn in_turn(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count)
}
