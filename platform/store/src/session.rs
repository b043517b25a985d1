//! An open transaction that can be taken away: the common ground of Reader, Writer and system
//! work. It gives the connection out for one statement at a time, and when its time is up a
//! watchdog rolls it back, so nobody can hold the write lane or pin a snapshot. A step that failed
//! or was abandoned half-way spoils it: from then on it can only be rolled back. Not public:
//! services see Reader and Writer only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::{Error, Result};
use sea_orm::DbErr;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::AbortHandle;

use crate::listen::{Committed, Listeners};
use crate::open::Open;
use crate::statistics::Statistics;
use crate::{failure, fault};

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// What the log says of a transaction.
pub(crate) struct Label {
    pub number: u64,
    pub kind: &'static str,
    pub tenant: String,
    pub request: String,
}

impl Label {
    pub(crate) fn new(kind: &'static str, tenant: String, request: String) -> Self {
        Self { number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed), kind, tenant, request }
    }
}

pub(crate) struct Session {
    held: Arc<Held>,
    watchdog: AbortHandle,
    finished: bool,
}

/// What the session shares with its watchdog and with the task that ends it.
struct Held {
    slot: Mutex<Option<Open>>,
    spoiled: AtomicBool,
    began: Instant,
    label: Label,
    writing: Option<Writing>,
    recorded: std::sync::Mutex<Vec<Committed>>,
}

/// Who learns how a writing transaction ended.
#[derive(Clone)]
pub(crate) struct Writing {
    pub statistics: Arc<Statistics>,
    pub listeners: Listeners,
    /// Whether what is committed can be read from the log at once.
    pub rings: bool,
}

impl Session {
    /// `writing` is for transactions that write; reads are not counted.
    pub(crate) fn new(open: Open, limit: Duration, label: Label, writing: Option<Writing>) -> Self {
        tracing::debug!(
            transaction.id = label.number,
            transaction.kind = label.kind,
            tenant.id = label.tenant,
            request.id = label.request,
            "transaction.start"
        );
        let (slot, spoiled, began) = (Mutex::new(Some(open)), AtomicBool::new(false), Instant::now());
        let recorded = std::sync::Mutex::default();
        let held = Arc::new(Held { slot, spoiled, began, label, writing, recorded });
        let watched = held.clone();
        let watchdog = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            let Some(open) = watched.slot.lock().await.take() else { return };
            tracing::warn!(
                transaction.id = watched.label.number,
                transaction.kind = watched.label.kind,
                request.id = watched.label.request,
                limit_ms = limit.as_millis() as u64,
                "transaction.abort: held too long, rolled back"
            );
            // In a task of its own: the session's end aborts this one, and a rollback that stops
            // half-way would leave the lane with a batch that nobody commits.
            tokio::spawn(async move { watched.end(open, false).await });
        });
        Self { held, watchdog: watchdog.abort_handle(), finished: false }
    }

    /// Lends the connection for one statement.
    pub(crate) async fn lend(&self) -> Result<Lent<'_>> {
        let slot = self.held.slot.lock().await;
        if slot.is_none() {
            return Err(timed_out());
        }
        if self.held.spoiled.load(Ordering::SeqCst) {
            return Err(spoiled());
        }
        Ok(Lent { slot, step: self.begin_step() })
    }

    /// Notes an event that this transaction appended, for those who listen to commits.
    pub(crate) fn note(&self, event: impl FnOnce() -> Committed) {
        if self.held.writing.is_some() {
            self.held.recorded.lock().expect("nothing panics while it is held").push(event());
        }
    }

    /// Begins a step of several statements that only make sense together.
    pub(crate) fn begin_step(&self) -> Step<'_> {
        Step { held: &self.held, ended: false }
    }

    /// Commits or rolls back. Runs in a task of its own: a caller that goes away changes nothing. A read
    /// has nothing to wait for.
    pub(crate) async fn finish(mut self, keep: bool) -> Result<()> {
        if !keep && self.held.writing.is_none() && self.held.let_go() {
            self.finished = true;
            self.watchdog.abort();
            return Ok(());
        }
        to_the_end(self.settle(keep)).await
    }

    /// Commits or rolls back, for a caller that runs in [`to_the_end`] already.
    pub(crate) async fn settle(mut self, keep: bool) -> Result<()> {
        self.finished = true;
        self.watchdog.abort();
        let Some(open) = self.held.slot.lock().await.take() else { return Err(timed_out()) };
        if keep && self.held.spoiled.load(Ordering::SeqCst) {
            self.held.end(open, false).await?;
            return Err(spoiled());
        }
        self.held.end(open, keep).await
    }
}

/// Runs the work in a task of its own, so that a caller who goes away cannot stop it half-way.
pub(crate) async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let ended = tokio::spawn(work).await;
    ended.map_err(|error| Error::internal("the task of a transaction failed").source_error(error))?
}

/// Something that must end well: when it is dropped before, the transaction is spoiled.
#[must_use]
pub(crate) struct Step<'s> {
    held: &'s Held,
    ended: bool,
}

impl Step<'_> {
    /// Says that the step ended well.
    pub(crate) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.held.spoiled.store(true, Ordering::SeqCst);
        }
    }
}

/// The connection, for one statement; its result goes through [`Lent::check`].
pub(crate) struct Lent<'s> {
    slot: MutexGuard<'s, Option<Open>>,
    step: Step<'s>,
}

impl Lent<'_> {
    /// Passes the result on, and notes it when SQLite has given up the whole transaction.
    pub(crate) fn check<T>(mut self, result: Result<T, DbErr>) -> Result<T> {
        match result {
            Ok(value) => {
                self.step.end();
                Ok(value)
            }
            Err(error) => {
                if let Some(open) = self.slot.as_mut() {
                    open.note_failure(&error);
                }
                Err(failure::from_database(error))
            }
        }
    }
}

impl std::ops::Deref for Lent<'_> {
    type Target = Open;

    fn deref(&self) -> &Open {
        self.slot.as_ref().expect("checked before it was lent")
    }
}

fn timed_out() -> Error {
    Error::unavailable("store.transaction_timeout", "this took too long and was undone; try again").retry_after(1)
}

/// PostgreSQL answers COMMIT after a failed statement with a silent rollback, and SQLite would keep
/// the half that was done; so neither is asked.
fn spoiled() -> Error {
    Error::internal("a transaction was used on after one of its steps had failed or was abandoned: it is undone")
}

impl Held {
    async fn end(&self, open: Open, keep: bool) -> Result<()> {
        let publishes = keep && !self.recorded.lock().expect("nothing panics while it is held").is_empty();
        if publishes && let Err(error) = fault::point("publish.before_commit").await {
            let _ = open.finish(false).await;
            return Err(error);
        }
        let ended = open.finish(keep).await;
        self.tell_end(keep, &ended);
        ended.map_err(|error| failure::from_database(DbErr::clone(&error)))?;
        if publishes { fault::point("publish.after_commit").await } else { Ok(()) }
    }

    /// Rolls back without a task and without waiting, where the engine lets it and nobody else holds the
    /// transaction. The connection is not lent again before the server has answered.
    fn let_go(&self) -> bool {
        let Ok(mut slot) = self.slot.try_lock() else { return false };
        if !slot.as_ref().is_some_and(Open::ends_by_itself) {
            return false;
        }
        drop(slot.take());
        self.tell_end(false, &Ok(()));
        true
    }

    /// Counts and logs the end, and tells those who listen.
    fn tell_end(&self, keep: bool, ended: &Result<(), Arc<DbErr>>) {
        if let Some(writing) = &self.writing {
            writing.statistics.count_end(keep && ended.is_ok());
            // A COMMIT whose answer was lost may have been made: who listens may hear too much, never too
            // little.
            if keep {
                let recorded = std::mem::take(&mut *self.recorded.lock().expect("nothing panics while it is held"));
                writing.listeners.tell(&recorded);
                // On PostgreSQL the relay numbers them first, and rings then.
                if !recorded.is_empty() && writing.rings {
                    writing.listeners.ring();
                }
            }
        }
        let (label, duration_ms) = (&self.label, self.began.elapsed().as_millis() as u64);
        match ended {
            Ok(()) if keep => tracing::debug!(
                transaction.id = label.number,
                transaction.kind = label.kind,
                tenant.id = label.tenant,
                request.id = label.request,
                duration_ms,
                "transaction.commit"
            ),
            Ok(()) => tracing::debug!(
                transaction.id = label.number,
                transaction.kind = label.kind,
                tenant.id = label.tenant,
                request.id = label.request,
                duration_ms,
                "transaction.abort"
            ),
            Err(error) => tracing::warn!(
                transaction.id = label.number, transaction.kind = label.kind,
                tenant.id = label.tenant, request.id = label.request, duration_ms, error = %error,
                "transaction.abort: the database refused"
            ),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.watchdog.abort();
        // Without a runtime the process is ending, and the engine rolls back by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.held.let_go() {
            return;
        }
        let held = self.held.clone();
        runtime.spawn(async move {
            let open = held.slot.lock().await.take();
            if let Some(open) = open {
                let _ = held.end(open, false).await;
            }
        });
    }
}
