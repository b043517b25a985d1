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

/// Measures everything and prints the report.
pub fn run(plan: &Plan) -> Outcome {
    let run = quiet::Run::begin()?;
    let tenants = if plan.quick { 100 } else { TENANTS.0 };
    let people = plan
        .engines
        .iter()
        .map(|&engine| Ok((engine, People::make(plan, engine, tenants, TENANTS.1)?)))
        .collect::<Outcome<Vec<(Engine, People)>>>()?;
    let peers = peer::Peers::install();
    let mut tables = vec![append::measure(plan)?, latency::measure(plan, &people)?];
    tables.push(fan_out::measure(plan, &people[0].1, peers.as_ref())?);
    tables.push(idle::measure(plan, &people[0].1, peers.as_ref())?);
    tables.push(jobs::measure(plan)?);
    tables.push(isolation::measure(plan, &people)?);
    if plan.engines.len() == 1 {
        say("there is no PostgreSQL, so nothing was measured on it");
    }
    run.end(&tables)
}
