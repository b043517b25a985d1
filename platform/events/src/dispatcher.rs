//! Runs subscriptions and sinks: looks at the log, wakes those who have something to read, and tries
//! again what failed. Several processes may do it at once: what is applied is decided in each
//! tenant's transaction. Not for a subscription's own course: see `drive`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use kernel::{RequestId, Result};
use store::{Engine, Store};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::drive::Drive;
use crate::marks;
use crate::park::{self, Due, Retried};
use crate::sink::{self, NamedSink};
use crate::statistics::{Counts, SubscriptionStatistics};
use crate::subscription::Subscription;
use crate::tables::mark;
use crate::view::View;

/// How often the log is looked at when nobody rings.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// How many events are looked at in one go.
const PAGE: u64 = 500;
/// What is rung within this is looked at together.
const TOGETHER: Duration = Duration::from_millis(2);
/// How often it is counted what is set aside.
const COUNT: Duration = Duration::from_secs(5);
/// How many transactions of tenants run at once on PostgreSQL; SQLite has one lane anyway.
const AT_ONCE: usize = 4;
/// How many streams are tried again in one go, and how many of them of one tenant.
const RETRIES: u64 = 200;
const RETRIES_OF_ONE: i64 = 10;
/// How often in a row `run_until_idle` starts anew when the database does not answer.
const PATIENCE: u32 = 10;

/// Runs subscriptions and sinks.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

pub(crate) struct Inner {
    pub store: Store,
    /// Names this dispatcher in leases.
    pub process: String,
    pub permits: Arc<Semaphore>,
    pub work: Vec<Arc<Work>>,
    pub sinks: Vec<NamedSink>,
    sink_counts: Vec<Counts>,
    /// Rings when something was set aside.
    pub set_aside: Notify,
    views: watch::Sender<View>,
}

/// A subscription, and what was counted of it.
pub(crate) struct Work {
    pub subscription: Subscription,
    pub counts: Counts,
}

/// A dispatcher at work.
#[must_use]
pub struct Running {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    inner: Arc<Inner>,
}

impl Dispatcher {
    /// Returns a dispatcher of these subscriptions; nothing runs yet.
    pub fn new(store: Store, subscriptions: Vec<Subscription>) -> Self {
        Self::with_sinks(store, subscriptions, Vec::new())
    }

    /// Returns a dispatcher of these subscriptions and sinks; nothing runs yet.
    pub fn with_sinks(store: Store, subscriptions: Vec<Subscription>, sinks: Vec<NamedSink>) -> Self {
        let at_once = if store.engine() == Engine::Sqlite { 1 } else { AT_ONCE };
        let work = subscriptions.into_iter().map(|subscription| Work { subscription, counts: Counts::default() });
        Self(Arc::new(Inner {
            store,
            process: RequestId::create().as_str().to_owned(),
            permits: Arc::new(Semaphore::new(at_once)),
            work: work.map(Arc::new).collect(),
            sink_counts: sinks.iter().map(|_| Counts::default()).collect(),
            sinks,
            set_aside: Notify::new(),
            views: watch::Sender::new(View::default()),
        }))
    }

    /// Starts to work, until it is stopped.
    pub fn start(self) -> Running {
        let (stop, stopping) = watch::channel(false);
        let (inner, mut tasks) = (self.0, JoinSet::new());
        tasks.spawn(look(inner.clone(), stopping.clone()));
        tasks.spawn(retry_what_failed(inner.clone(), stopping.clone()));
        for work in &inner.work {
            let drive = Drive::new(inner.clone(), work.clone());
            tasks.spawn(drive.until_stopped(inner.views.subscribe(), stopping.clone()));
        }
        for place in 0..inner.sinks.len() {
            tasks.spawn(sink::run(inner.clone(), place, inner.views.subscribe(), stopping.clone()));
        }
        Running { stop, tasks, inner }
    }

    /// Applies all that is in the log, and all that is to be tried again by now; says how much that was.
    pub async fn run_until_idle(&self) -> Result<u64> {
        let (mut total, mut failures) = (0, 0);
        loop {
            match self.0.all_once().await {
                Ok(0) => return Ok(total),
                Ok(done) => (total, failures) = (total + done, 0),
                Err(error) if failures >= PATIENCE => return Err(error),
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20 << failures.min(6))).await;
                    failures += 1;
                }
            }
        }
    }

    /// Returns what was counted so far.
    pub fn statistics(&self) -> Vec<SubscriptionStatistics> {
        let last = self.0.views.borrow().last;
        let work = self.0.work.iter().map(|work| work.counts.read(work.subscription.name, last));
        let sinks = self.0.sinks.iter().zip(&self.0.sink_counts);
        work.chain(sinks.map(|(sink, counts)| counts.read(&sink.mark(), last))).collect()
    }
}

impl Running {
    /// Lets what is open end, notes how far everything has come, and stops.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        if let Err(error) = marks::release(&self.inner.store, &self.inner.process).await {
            tracing::debug!(error = %error, "the leases of subscriptions end by themselves");
        }
    }
}

impl Inner {
    pub(crate) fn sink_counts(&self, place: usize) -> &Counts {
        &self.sink_counts[place]
    }

    /// Lets everybody work until nothing is left for them; says how much that was.
    async fn all_once(self: &Arc<Self>) -> Result<u64> {
        let mut done = 0;
        for work in &self.work {
            done += Drive::new(self.clone(), work.clone()).until_idle().await?;
        }
        done += self.retry_due().await?;
        for place in 0..self.sinks.len() {
            done += sink::until_idle(self, place).await?;
        }
        Ok(done)
    }

    /// Looks at the log and at the marks.
    pub(crate) async fn look(&self) -> Result<View> {
        // The log first: what is in it by then, whoever reads afterwards finds.
        let last = store::log_state(&self.store).await?.last;
        Ok(View { last, from: last, newest: Arc::default(), marks: self.look_at_marks().await? })
    }

    async fn look_at_marks(&self) -> Result<Arc<HashMap<String, mark::Model>>> {
        let marks = marks::all(&self.store).await?.into_iter();
        Ok(Arc::new(marks.map(|mark| (mark.name.clone(), mark)).collect()))
    }

    /// Reads what came after the last look; says whether there may be more.
    async fn look_on(&self, marks_too: bool) -> Result<bool> {
        let before = self.views.borrow().clone();
        let page = store::events_after(&self.store, before.last, None, PAGE).await?;
        let (full, any) = (page.len() as u64 == PAGE, !page.is_empty());
        let mut view = if any { before.with(page) } else { before };
        if marks_too {
            view.marks = self.look_at_marks().await?;
        }
        if any || marks_too {
            self.views.send_replace(view);
        }
        Ok(full)
    }

    /// Tries again what is to be tried again by now; says how many events were tried.
    async fn retry_due(&self) -> Result<u64> {
        let names: Vec<&str> = self.work.iter().map(|work| work.subscription.name).collect();
        let due = park::due(&self.store, &names, RETRIES, RETRIES_OF_ONE).await?;
        let at_once = if self.store.engine() == Engine::Sqlite { 1 } else { 2 };
        let tried = stream::iter(due).map(|due| async move { self.retry_stream(&due).await }).buffer_unordered(at_once);
        let tried: Vec<Result<u64>> = tried.collect().await;
        tried.into_iter().sum()
    }

    /// Tries a stream's first event, and those behind it as long as they succeed.
    async fn retry_stream(&self, due: &Due) -> Result<u64> {
        let work = self.work.iter().find(|work| work.subscription.name == due.subscription);
        let Some(work) = work else { return Ok(0) };
        let mut tried = 0;
        // A long stream gives others their turn in between.
        while tried < 50 {
            match park::retry(&self.store, &work.subscription, due).await? {
                Retried::Applied => work.counts.add(1, 0),
                Retried::Failed => {
                    work.counts.add(0, 1);
                    return Ok(tried + 1);
                }
                Retried::Postponed | Retried::Nothing => return Ok(tried),
            }
            tried += 1;
        }
        Ok(tried)
    }

    /// Counts what is set aside; says whether anything is.
    async fn count(&self) -> Result<bool> {
        let counted = park::count(&self.store).await?;
        for work in &self.work {
            let set_aside = counted.get(work.subscription.name).copied().unwrap_or_default();
            work.counts.retrying.store(set_aside.retrying, Ordering::Relaxed);
            work.counts.parked.store(set_aside.parked, Ordering::Relaxed);
        }
        // What is parked may be let go by an operator at any moment.
        Ok(!counted.is_empty())
    }
}

/// Waits for a stop; for ever when there is none.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn look(inner: Arc<Inner>, mut stopping: watch::Receiver<bool>) {
    let mut rung = inner.store.readable();
    let mut looked = None::<Instant>;
    let (mut glance, mut called) = (inner.store.glance(), true);
    loop {
        // Asked always, for it remembers.
        if glance.may_have_changed() | called {
            rung.mark_unchanged();
            // Where there is much to read, the marks are not looked at every time.
            let due = looked.is_none_or(|moment| moment.elapsed() >= LOOK);
            let seen = match looked {
                None => inner.look().await.map(|view| {
                    inner.views.send_replace(view);
                    false
                }),
                Some(_) => inner.look_on(due).await,
            };
            called = seen.is_err();
            match seen {
                Ok(more) => {
                    looked = if due { Some(Instant::now()) } else { looked };
                    if more {
                        called = true;
                        continue;
                    }
                }
                Err(error) => tracing::warn!(error = %error, "subscriptions wait: the log cannot be read"),
            }
        }
        tokio::select! {
            () = stopped(&mut stopping) => return,
            rung = tokio::time::timeout(LOOK, rung.changed()) => if rung.is_ok() {
                called = true;
                tokio::time::sleep(TOGETHER).await;
            },
        }
    }
}

async fn retry_what_failed(inner: Arc<Inner>, mut stopping: watch::Receiver<bool>) {
    let (mut counted, mut any) = (None::<Instant>, true);
    while !*stopping.borrow() {
        let round = async {
            if counted.is_none_or(|moment| moment.elapsed() >= COUNT) {
                any = inner.count().await?;
                counted = Some(Instant::now());
            }
            if any && inner.retry_due().await? > 0 {
                counted = None;
            }
            Ok::<_, kernel::Error>(())
        };
        if let Err(error) = round.await {
            tracing::warn!(error = %error, "what failed is not tried again for the moment");
        }
        let pause = if any { LOOK } else { COUNT };
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = inner.set_aside.notified() => any = true,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
