//! A flood of one organisation's jobs. Not for how many jobs there can be a second: see `jobs`.

use std::time::{Duration, Instant};

use store::Engine;

use super::{Delays, PER_SECOND};
use crate::figures::Latencies;
use crate::live::ground::Ground;
use crate::live::jobs::{self, Worker};
use crate::{Outcome, Plan, people, say};

const FLOOD: usize = 20_000;
const BATCH: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(plan: &Plan, engine: Engine, count: usize, rounds: usize) -> Outcome<Vec<Delays>> {
    let ground = Ground::make(plan, engine, 2)?;
    let flood = if plan.quick { FLOOD / 10 } else { FLOOD };
    let found = plan.runtime.block_on(async {
        let worker = Worker::default();
        let running = jobs::engine(&ground.store, &worker)?.start();
        let (mut found, mut next) = (Vec::new(), 0);
        for round in 0..rounds {
            say(format!("flood of jobs, {}, round {}", people::name(engine), round + 1));
            let alone = pick_up(&ground, &worker, next, count).await?;
            next += count;
            worker.wait_for(next).await?;
            for from in (next..next + flood).step_by(BATCH) {
                jobs::enqueue(&ground.store, ground.tenants[0], from..from + BATCH).await?;
            }
            next += flood;
            let beside = pick_up(&ground, &worker, next, count).await?;
            next += count;
            worker.wait_for(next).await?;
            found.push([alone, beside]);
        }
        running.stop().await;
        Outcome::Ok(found)
    })?;
    ground.close(plan);
    Ok(found)
}

/// Queues B's jobs and returns how long each waited for its start.
async fn pick_up(ground: &Ground, worker: &Worker, from: usize, count: usize) -> Outcome<Latencies> {
    let (began, mut latencies, mut queued) = (Instant::now(), Latencies::default(), Vec::new());
    for place in 0..count {
        tokio::time::sleep_until((began + Duration::from_secs_f64(place as f64 / PER_SECOND)).into()).await;
        let number = from + place;
        queued.push((number, jobs::enqueue(&ground.store, ground.tenants[1], std::iter::once(number)).await?));
    }
    let last = Instant::now();
    for (number, at) in queued {
        let started = loop {
            if let Some(started) = worker.began(number) {
                break started;
            }
            if last.elapsed() > PATIENCE {
                return Err(format!("job {number} of B never began").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        latencies.add(started.saturating_duration_since(at));
    }
    Ok(latencies)
}
