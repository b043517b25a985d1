//! The engine: leases tasks to the workers of this process, starts what is scheduled, and runs sagas.
//! Any number of processes may run one over the same data. Not for declaring work: see `job`.

mod attempt;
mod board;
mod claim;
mod clock;
mod ending;
mod pump;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::{Error, Result, TenantId};
use serde::{Deserialize, Serialize};
use store::Store;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::job::Job;
use crate::queue::QUEUED;
use crate::saga::{self, Saga};
use crate::schedule::Schedule;
use clock::Planned;
use pump::Pump;

pub(crate) use attempt::panicked;

/// How the engine works.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// How many tasks run at the same time in this process.
    pub workers: usize,
    /// How long a worker that says nothing keeps its task, in milliseconds.
    pub lease_ms: u64,
    /// How often the queue is looked at when nobody rings, in milliseconds.
    pub poll_ms: u64,
    /// How long a stop waits for work under way, in milliseconds.
    pub stop_ms: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { workers: 16, lease_ms: 30_000, poll_ms: 500, stop_ms: 10_000 }
    }
}

impl EngineConfig {
    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    fn workers(&self) -> usize {
        self.workers.max(1)
    }
}

/// Runs tasks, schedules and sagas. Cloning it is cheap.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub store: Store,
    pub jobs: BTreeMap<&'static str, Job>,
    pub names: Vec<&'static str>,
    schedules: Vec<Planned>,
    pub config: EngineConfig,
    /// Whose tasks this process has put in the queue since they were last looked for.
    told: Mutex<BTreeSet<TenantId>>,
    /// Somebody says that there may be work of other processes.
    rung: AtomicBool,
    pub wake: Notify,
}

impl Engine {
    /// Returns an engine; it does nothing until it is started.
    pub fn new(
        store: Store,
        jobs: Vec<Job>,
        schedules: Vec<Schedule>,
        sagas: Vec<Saga>,
        config: EngineConfig,
    ) -> Result<Self> {
        let mut known = BTreeMap::new();
        for job in jobs.into_iter().chain(saga::job(sagas)?) {
            if known.insert(job.name, job.clone()).is_some() {
                return Err(Error::internal(format!("two jobs are called {}", job.name)));
            }
        }
        let schedules = clock::plan(schedules)?;
        let inner = Arc::new(Inner {
            store,
            names: known.keys().copied().collect(),
            jobs: known,
            schedules,
            config,
            told: Mutex::default(),
            rung: AtomicBool::new(true),
            wake: Notify::new(),
        });
        // Weak, since the store keeps its listeners as long as itself.
        let told = Arc::downgrade(&inner);
        inner.store.listen(move |events| {
            let mut queued = events.iter().filter(|event| event.kind == QUEUED).map(|event| event.tenant).peekable();
            if queued.peek().is_some()
                && let Some(inner) = told.upgrade()
            {
                inner.told().extend(queued);
                inner.wake.notify_one();
            }
        });
        Ok(Self { inner })
    }

    /// Starts the workers.
    pub fn start(&self) -> Running {
        let (stop, stopping) = watch::channel(false);
        let inner = self.inner.clone();
        let work = tokio::spawn(async move { Pump::new(inner).serve(stopping).await });
        Running { stop, work }
    }

    /// Looks at the queue now: another process has put something in it.
    pub fn ring(&self) {
        self.inner.rung.store(true, Ordering::SeqCst);
        self.inner.wake.notify_one();
    }

    /// Runs everything that is due by the store's clock until nothing is, and says how many attempts
    /// that took. For tests.
    pub async fn run_until_idle(&self) -> Result<usize> {
        Pump::new(self.inner.clone()).run_until_idle().await
    }
}

impl Inner {
    fn told(&self) -> MutexGuard<'_, BTreeSet<TenantId>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the tenants whose tasks were put in the queue here.
    fn take_told(&self) -> BTreeSet<TenantId> {
        std::mem::take(&mut *self.told())
    }
}

/// A started engine.
pub struct Running {
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Running {
    /// Takes no more tasks, waits for those under way up to a limit, and leaves the others to their
    /// leases.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.work.await {
            tracing::warn!(error = %error, "the task engine did not stop cleanly");
        }
    }
}
