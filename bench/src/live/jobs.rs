//! Jobs a second with one transaction each, and how soon a job is picked up. In this process, with
//! the engine that a server runs. Not for what jobs do to others: see `isolation`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use kernel::{Answer, PermissionSet, TenantId};
use store::{Event, Store};
use tasks::{Engine, EngineConfig, Job, NewTask, Run, Work};
use tokio::sync::Notify;

use super::ground::Ground;
use crate::figures::{Latencies, Spread, short};
use crate::people;
use crate::report::Table;
use crate::{Outcome, Plan, say};

/// The job that is measured.
pub const JOB: &str = "bench.work";
const TENANTS: usize = 10;
/// How many are put in the queue in one transaction.
const BATCH: usize = 100;
const DATA: usize = 189;
/// How many are put in an idle queue each second.
const PER_SECOND: f64 = 100.0;
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes one event and the job's end in one transaction, and notes when it began.
#[derive(Clone, Default)]
pub struct Worker(Arc<Noted>);

#[derive(Default)]
struct Noted {
    began: Mutex<HashMap<usize, Instant>>,
    done: AtomicUsize,
    wake: Notify,
}

impl Worker {
    /// Returns when the job of this number began, if it did.
    pub fn began(&self, number: usize) -> Option<Instant> {
        self.0.began.lock().unwrap_or_else(PoisonError::into_inner).get(&number).copied()
    }

    /// Waits until so many are done.
    pub async fn wait_for(&self, count: usize) -> Outcome {
        let all = async {
            while self.0.done.load(Ordering::SeqCst) < count {
                let _ = tokio::time::timeout(Duration::from_millis(5), self.0.wake.notified()).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, all).await;
        waited.map_err(|_| format!("{} of {count} jobs are done", self.0.done.load(Ordering::SeqCst)).into())
    }
}

impl Work for Worker {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, kernel::Result<tasks::Outcome>> {
        Box::pin(async move {
            let began = Instant::now();
            let number: usize = run.payload()?;
            self.0.began.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(began);
            let mut ctx = run.ctx();
            let mut writer = run.store().write(&mut ctx).await?;
            let data = serde_json::json!({ "text": "x".repeat(DATA) });
            writer.record(Event::about("bench.job.done", number, data)).await?;
            run.complete(&mut writer, serde_json::Value::Null).await?;
            writer.commit(Answer::no_content()).await?;
            self.0.done.fetch_add(1, Ordering::SeqCst);
            self.0.wake.notify_one();
            Ok(tasks::Outcome::Completed)
        })
    }
}

/// Returns the engine of a server with default settings and only this job.
pub fn engine(store: &Store, worker: &Worker) -> Outcome<Engine> {
    let jobs = vec![Job::new(JOB, worker.clone())];
    Ok(Engine::new(store.clone(), jobs, Vec::new(), Vec::new(), EngineConfig::default())?)
}

/// Puts jobs of these numbers in the queue of a tenant, and says when that was acknowledged.
pub async fn enqueue(store: &Store, tenant: TenantId, numbers: impl Iterator<Item = usize>) -> Outcome<Instant> {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    for number in numbers {
        tasks::enqueue(&mut writer, NewTask::new(JOB, number.into())).await?;
    }
    writer.commit(Answer::no_content()).await?;
    Ok(Instant::now())
}

/// What one round found.
struct Round {
    per_second: f64,
    picked_up: Latencies,
}

/// Measures it on each engine, in rounds that take turns.
pub fn measure(plan: &Plan) -> Outcome<Table> {
    let (count, single, rounds) = if plan.quick { (1_000, 100, 1) } else { (20_000, 1_000, 5) };
    let head = ["", "goal", "jobs a second", "pick-up p50, ms", "pick-up p99, ms"];
    let mut table = Table::new("Jobs, one transaction each", &head);
    let grounds =
        plan.engines.iter().map(|&engine| Ground::make(plan, engine, TENANTS)).collect::<Outcome<Vec<_>>>()?;
    let mut found: Vec<Vec<Round>> = grounds.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (ground, found) in grounds.iter().zip(&mut found) {
            say(format!("jobs, round {}: {}", round + 1, people::name(ground.engine)));
            found.push(plan.runtime.block_on(one(ground, count, single))?);
        }
    }
    for (ground, found) in grounds.iter().zip(&found) {
        let goal = if ground.engine == store::Engine::Postgres { "5,000" } else { "" };
        let spread = |pick: &dyn Fn(&Round) -> f64| Spread::of(&found.iter().map(pick).collect::<Vec<_>>()).to_string();
        table.row([
            people::name(ground.engine).to_owned(),
            goal.to_owned(),
            spread(&|round| round.per_second),
            spread(&|round| round.picked_up.median()),
            spread(&|round| round.picked_up.within(0.99)),
        ]);
    }
    table.note(format!(
        "Goal for pick-up: p99 under 50 ms. Default settings: {} workers. {} jobs of {TENANTS} organisations wait when the \
         engine starts; each writes an event of 200 B and its own end in one transaction. Pick-up: {PER_SECOND} jobs a \
         second come to an idle engine, from the acknowledged commit to the work's first line.",
        EngineConfig::default().workers,
        short(count as f64)
    ));
    grounds.into_iter().for_each(|ground| ground.close(plan));
    Ok(table)
}

async fn one(ground: &Ground, count: usize, single: usize) -> Outcome<Round> {
    let (store, tenants) = (&ground.store, &ground.tenants);
    for batch in 0..count / BATCH {
        let from = batch * BATCH;
        enqueue(store, tenants[batch % TENANTS], from..from + BATCH).await?;
    }
    let worker = Worker::default();
    let began = Instant::now();
    let running = engine(store, &worker)?.start();
    worker.wait_for(count).await?;
    let per_second = count as f64 / began.elapsed().as_secs_f64();
    let mut picked_up = Latencies::default();
    let began = Instant::now() + Duration::from_millis(500);
    for place in 0..single {
        tokio::time::sleep_until((began + Duration::from_secs_f64(place as f64 / PER_SECOND)).into()).await;
        let number = count + place;
        let queued = enqueue(store, tenants[place % TENANTS], std::iter::once(number)).await?;
        worker.wait_for(number + 1).await?;
        let began = worker.began(number).ok_or("a job is done that never began")?;
        picked_up.add(began.saturating_duration_since(queued));
    }
    running.stop().await;
    Ok(Round { per_second, picked_up })
}
