//! `live`: what the event log, streams, sockets and tasks cost. Reads top to bottom. Not for what
//! any part measures.

mod append;
mod crowd;
mod fan_out;
mod ground;
mod idle;
mod isolation;
mod jobs;
mod kernel_memory;
mod latency;
mod peer;
mod side;
mod speech;
mod writes;

use store::Engine;

use crate::people::People;
use crate::{Outcome, Plan, quiet, say};

/// Organisations of ten people, each with so many API tokens.
const TENANTS: (usize, usize) = (1_000, 1);

/// The parts, in the order of the report.
const PARTS: [&str; 6] = ["append", "latency", "fan-out", "idle", "jobs", "isolation"];

/// Measures everything, or only these parts, and prints the report.
pub fn run(plan: &Plan, parts: &[&str]) -> Outcome {
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(format!("there is no part `{unknown}`: {}", PARTS.join(", ")).into());
    }
    let run = quiet::Run::begin()?;
    let tenants = if plan.quick { 100 } else { TENANTS.0 };
    let people = plan
        .engines
        .iter()
        .map(|&engine| Ok((engine, People::make(plan, engine, tenants, TENANTS.1)?)))
        .collect::<Outcome<Vec<(Engine, People)>>>()?;
    let peers = peer::Peers::install();
    let wanted = PARTS.into_iter().filter(|part| parts.is_empty() || parts.contains(part));
    let tables = wanted.map(|part| match part {
        "append" => append::measure(plan),
        "latency" => latency::measure(plan, &people),
        "fan-out" => fan_out::measure(plan, &people[0].1, peers.as_ref()),
        "idle" => idle::measure(plan, &people[0].1, peers.as_ref()),
        "jobs" => jobs::measure(plan),
        _ => isolation::measure(plan, &people),
    });
    let tables = tables.collect::<Outcome<Vec<_>>>()?;
    if plan.engines.len() == 1 {
        say("there is no PostgreSQL, so nothing was measured on it");
    }
    run.end(&tables)
}
