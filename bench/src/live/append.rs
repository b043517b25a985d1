//! Events appended a second: one event in one transaction, by many writers at once, which SQLite
//! commits in groups. In this process. Not for delivery.

use std::time::{Duration, Instant};

use kernel::TenantId;
use store::{Engine, Store};

use super::ground::{self, Ground};
use crate::figures::{Latencies, Spread, short};
use crate::people;
use crate::report::Table;
use crate::{Outcome, Plan, say};

const WRITERS: [usize; 2] = [1, 64];
/// About 200 bytes, as JSON text.
const DATA: usize = 189;

/// What one round found.
struct Round {
    per_second: f64,
    readable: f64,
    latencies: Latencies,
}

/// Measures it on each engine, in rounds that take turns.
pub fn measure(plan: &Plan) -> Outcome<Table> {
    let (length, rounds) = if plan.quick { (Duration::from_secs(1), 1) } else { (Duration::from_secs(5), 5) };
    let head =
        ["", "goal", "writers", "events a second", "with a position, a second", "commit p50, ms", "commit p99, ms"];
    let mut table = Table::new("Events appended, one in each transaction", &head);
    let grounds = plan.engines.iter().map(|&engine| Ground::make(plan, engine, 1)).collect::<Outcome<Vec<_>>>()?;
    let cases: Vec<_> = grounds.iter().flat_map(|ground| WRITERS.map(|writers| (ground, writers))).collect();
    let mut found: Vec<Vec<Round>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for ((ground, writers), found) in cases.iter().zip(&mut found) {
            say(format!("append, round {}: {}, {writers} writers", round + 1, people::name(ground.engine)));
            found.push(plan.runtime.block_on(one(&ground.store, ground.tenants[0], *writers, length))?);
        }
    }
    for ((ground, writers), found) in cases.iter().zip(&found) {
        let goal = match (ground.engine, *writers) {
            (Engine::Sqlite, 64) => "10,000",
            (Engine::Postgres, 64) => "20,000",
            _ => "",
        };
        let spread = |pick: &dyn Fn(&Round) -> f64| Spread::of(&found.iter().map(pick).collect::<Vec<_>>()).to_string();
        table.row([
            people::name(ground.engine).to_owned(),
            goal.to_owned(),
            writers.to_string(),
            spread(&|round| round.per_second),
            spread(&|round| round.readable),
            spread(&|round| round.latencies.median()),
            spread(&|round| round.latencies.within(0.99)),
        ]);
    }
    table.note(format!(
        "Writers of one organisation for {} s, 200 B of data each, acknowledged when it is on disk; PostgreSQL with its \
         row-level security, on 32 connections, and with the relay that gives positions beside it. “With a position” \
         counts until the relay has numbered the last one.",
        short(length.as_secs_f64())
    ));
    grounds.into_iter().for_each(|ground| ground.close(plan));
    Ok(table)
}

async fn one(store: &Store, tenant: TenantId, writers: usize, length: Duration) -> Outcome<Round> {
    let relay = tokio::spawn(ground::relay(store.clone()));
    let began = Instant::now();
    let writers: Vec<_> =
        (0..writers).map(|number| tokio::spawn(write(store.clone(), tenant, number, began + length))).collect();
    let mut latencies = Latencies::default();
    for writer in writers {
        latencies.extend(&writer.await??);
    }
    let took = began.elapsed().as_secs_f64();
    while store::assign_positions(store).await? > 0 {}
    let readable = began.elapsed().as_secs_f64();
    relay.abort();
    let count = latencies.count() as f64;
    Ok(Round { per_second: count / took, readable: count / readable, latencies })
}

async fn write(store: Store, tenant: TenantId, number: usize, until: Instant) -> Outcome<Latencies> {
    let mut latencies = Latencies::default();
    let (subject, text) = (format!("bench-{number}"), "x".repeat(DATA));
    while Instant::now() < until {
        let began = Instant::now();
        ground::write(&store, tenant, "bench.thing.happened", &subject, &text).await?;
        latencies.add(began.elapsed());
    }
    Ok(latencies)
}
