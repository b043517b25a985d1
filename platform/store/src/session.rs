//! An open transaction that can be taken away: the common ground of Reader, Writer and system
//! work. It gives the connection out for one statement at a time, and when its time is up a
//! watchdog rolls it back, so nobody can hold the write lane or pin a snapshot. Not public:
//! services see Reader and Writer only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::{Error, Result};
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::AbortHandle;

use crate::failure;
use crate::lane::{self, Turn};
use crate::statistics::Statistics;

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// A transaction of either engine.
pub(crate) enum Open {
    /// A savepoint in SQLite's write lane.
    Lane(Turn),
    /// A transaction of its own on a pooled connection.
    Pool(DatabaseTransaction),
}

impl Open {
    fn connection(&self) -> &DatabaseTransaction {
        match self {
            Self::Lane(turn) => turn.connection(),
            Self::Pool(transaction) => transaction,
        }
    }

    async fn finish(self, keep: bool) -> Result<(), Arc<DbErr>> {
        match self {
            Self::Lane(turn) => {
                let outcome = turn.finish(keep).await.map_err(Arc::new)?;
                if keep { lane::durable(outcome).await } else { Ok(()) }
            }
            Self::Pool(transaction) if keep => transaction.commit().await.map_err(Arc::new),
            Self::Pool(transaction) => transaction.rollback().await.map_err(Arc::new),
        }
    }
}

/// What the log says of a transaction.
#[derive(Clone)]
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
    slot: Arc<Mutex<Option<Open>>>,
    watchdog: AbortHandle,
    began: Instant,
    label: Label,
    counted: Option<Arc<Statistics>>,
    finished: bool,
}

impl Session {
    /// `counted` is for transactions that write; reads are not counted.
    pub(crate) fn new(open: Open, limit: Duration, label: Label, counted: Option<Arc<Statistics>>) -> Self {
        let slot = Arc::new(Mutex::new(Some(open)));
        tracing::debug!(
            transaction.id = label.number, transaction.kind = label.kind,
            tenant.id = label.tenant, request.id = label.request, "transaction.start"
        );
        let (held, name, statistics) = (slot.clone(), label.clone(), counted.clone());
        let watchdog = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            if let Some(open) = held.lock().await.take() {
                tracing::warn!(
                    transaction.id = name.number, transaction.kind = name.kind, request.id = name.request,
                    limit_ms = limit.as_millis() as u64, "transaction.abort: held too long, rolled back"
                );
                let _ = open.finish(false).await;
                if let Some(statistics) = statistics {
                    statistics.count_end(false);
                }
            }
        });
        Self { slot, watchdog: watchdog.abort_handle(), began: Instant::now(), label, counted, finished: false }
    }

    /// Lends the connection for one statement.
    pub(crate) async fn lend(&self) -> Result<Lent> {
        let slot = self.slot.clone().lock_owned().await;
        if slot.is_none() { Err(timed_out()) } else { Ok(Lent(slot)) }
    }

    /// Commits or rolls back. Runs in a task of its own: a caller that goes away changes nothing.
    pub(crate) async fn finish(mut self, keep: bool) -> Result<()> {
        self.finished = true;
        self.watchdog.abort();
        let (slot, label, began, counted) = (self.slot.clone(), self.label.clone(), self.began, self.counted.clone());
        let ended = tokio::spawn(async move { end(slot, label, began, counted, keep).await });
        ended.await.map_err(|error| Error::internal("the commit's task failed").source_error(error))?
    }
}

/// The connection, for one statement; its result goes through [`Lent::check`].
pub(crate) struct Lent(OwnedMutexGuard<Option<Open>>);

impl Lent {
    /// Passes the result on, and notes it when SQLite has given up the whole transaction.
    pub(crate) fn check<T>(mut self, result: Result<T, DbErr>) -> Result<T> {
        result.map_err(|error| {
            if failure::breaks_transaction(&error)
                && let Some(Open::Lane(turn)) = self.0.as_mut()
            {
                turn.break_batch(&error);
            }
            failure::from_database(error)
        })
    }
}

impl std::ops::Deref for Lent {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        self.0.as_ref().map(Open::connection).expect("checked before it was lent")
    }
}

fn timed_out() -> Error {
    Error::unavailable("store.transaction_timeout", "this took too long and was undone; try again").retry_after(1)
}

async fn end(
    slot: Arc<Mutex<Option<Open>>>,
    label: Label,
    began: Instant,
    counted: Option<Arc<Statistics>>,
    keep: bool,
) -> Result<()> {
    let Some(open) = slot.lock().await.take() else { return Err(timed_out()) };
    let ended = open.finish(keep).await;
    if let Some(statistics) = counted {
        statistics.count_end(keep && ended.is_ok());
    }
    let duration_ms = began.elapsed().as_millis() as u64;
    match &ended {
        Ok(()) if keep => tracing::debug!(
            transaction.id = label.number, transaction.kind = label.kind,
            tenant.id = label.tenant, request.id = label.request, duration_ms, "transaction.commit"
        ),
        Ok(()) => tracing::debug!(
            transaction.id = label.number, transaction.kind = label.kind,
            tenant.id = label.tenant, request.id = label.request, duration_ms, "transaction.abort"
        ),
        Err(error) => tracing::warn!(
            transaction.id = label.number, transaction.kind = label.kind,
            tenant.id = label.tenant, request.id = label.request, duration_ms, error = %error,
            "transaction.abort: the database refused"
        ),
    }
    ended.map_err(|error| failure::from_database(DbErr::clone(&error)))
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.watchdog.abort();
        let (slot, label, began, counted) = (self.slot.clone(), self.label.clone(), self.began, self.counted.clone());
        // Without a runtime the process is ending, and the engine rolls back by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = end(slot, label, began, counted, false).await;
            });
        }
    }
}
