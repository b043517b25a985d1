//! SQLite's one write lane, with group commit (decision 0002).
//!
//! One connection writes. An outer transaction, the *batch*, stays open while writers queue; each
//! writer is a savepoint in it, and all of them resolve on the one COMMIT that syncs the file. The
//! writer that finds nobody waiting behind it commits for everyone. Not for PostgreSQL, which
//! groups commits itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::{Error, Result};
use sea_orm::sqlx::SqlitePool;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::failure;
use crate::statistics::Statistics;

/// How long a batch may grow before somebody must commit it.
const BATCH_AGE: Duration = Duration::from_millis(5);
/// How many writers may share one COMMIT.
const BATCH_WRITERS: usize = 64;
/// How long a writer waits for its turn.
const QUEUE_LIMIT: Duration = Duration::from_secs(5);

/// What became of a batch; every writer in it gets the same answer.
pub(crate) type Outcome = Option<Result<(), Arc<DbErr>>>;

pub(crate) struct Lane {
    state: Arc<Mutex<State>>,
    statistics: Arc<Statistics>,
}

struct State {
    options: SqliteConnectOptions,
    connection: DatabaseConnection,
    batch: Option<Batch>,
    closed: bool,
    statistics: Arc<Statistics>,
}

struct Batch {
    outer: DatabaseTransaction,
    began: Instant,
    writers: usize,
    broken: Option<Arc<DbErr>>,
    outcome: watch::Sender<Outcome>,
}

/// A writer's turn: its savepoint, and the lane for as long as it is held.
pub(crate) struct Turn {
    state: Option<OwnedMutexGuard<State>>,
    savepoint: Option<DatabaseTransaction>,
}

async fn open(options: &SqliteConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let pool: SqlitePool = PoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(QUEUE_LIMIT)
        .connect_with(options.clone())
        .await
        .map_err(|error| DbErr::Conn(sea_orm::RuntimeErr::SqlxError(Arc::new(error))))?;
    Ok(pool.into())
}

impl Lane {
    pub(crate) async fn open(options: SqliteConnectOptions, statistics: Arc<Statistics>) -> Result<Self> {
        let connection = open(&options).await.map_err(failure::from_database)?;
        let state = State { options, connection, batch: None, closed: false, statistics: statistics.clone() };
        Ok(Self { state: Arc::new(Mutex::new(state)), statistics })
    }

    /// Waits for the lane. Runs in a task of its own, so a caller that goes away while queueing
    /// cannot leave a batch behind that nobody commits.
    pub(crate) async fn enter(&self) -> Result<Turn> {
        let (state, statistics) = (self.state.clone(), self.statistics.clone());
        let entered = tokio::spawn(async move {
            statistics.queue();
            let locked = tokio::time::timeout(QUEUE_LIMIT, state.clone().lock_owned()).await;
            statistics.leave_queue();
            match locked {
                Ok(state) => Turn::begin(state).await,
                Err(_) => {
                    // The writer before us may have left its batch to us; see that it is committed.
                    tokio::spawn(async move {
                        let mut state = state.lock_owned().await;
                        if statistics.lane_waiting() == 0 {
                            state.close_batch().await;
                        }
                    });
                    Err(Error::unavailable("store.write_lane_busy", "too many changes are waiting; try again shortly")
                        .retry_after(1))
                }
            }
        });
        entered.await.map_err(|error| Error::internal("the write lane's task failed").source_error(error))?
    }

    /// Commits what is open and closes the connection; later writers are refused.
    pub(crate) async fn close(&self) {
        let mut state = self.state.clone().lock_owned().await;
        state.close_batch().await;
        state.closed = true;
        if let Err(error) = state.connection.clone().close().await {
            tracing::warn!(error = %error, "the write connection did not close cleanly");
        }
    }
}

impl State {
    async fn batch(&mut self) -> Result<&mut Batch, DbErr> {
        if self.batch.is_none() {
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            };
            let outer = match self.connection.begin_with_options(options).await {
                Ok(outer) => outer,
                Err(error) => {
                    self.reopen().await;
                    return Err(error);
                }
            };
            self.batch = Some(Batch {
                outer,
                began: Instant::now(),
                writers: 0,
                broken: None,
                outcome: watch::Sender::new(None),
            });
        }
        Ok(self.batch.as_mut().expect("opened above"))
    }

    /// Commits the batch, or gives it up when it is broken, and tells everybody in it.
    async fn close_batch(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let Batch { outer, broken, outcome, .. } = batch;
        let result = match broken {
            Some(error) => {
                drop(outer);
                Err(error)
            }
            None => outer.commit().await.map_err(Arc::new),
        };
        match &result {
            Ok(()) => self.statistics.count_batch(),
            Err(_) => self.reopen().await,
        }
        outcome.send_replace(Some(result));
    }

    /// Gives up the connection: after a failed transaction its state is not worth guessing.
    async fn reopen(&mut self) {
        let old = self.connection.clone();
        let closing = tokio::time::timeout(QUEUE_LIMIT, old.close());
        if !matches!(closing.await, Ok(Ok(()))) {
            tracing::warn!("the failed write connection did not close in time");
        }
        match open(&self.options).await {
            Ok(connection) => self.connection = connection,
            // The pool stays closed; the next writer's BEGIN fails and tries again from here.
            Err(error) => tracing::error!(error = %error, "the write connection could not be opened again"),
        }
    }
}

impl Turn {
    async fn begin(mut state: OwnedMutexGuard<State>) -> Result<Self> {
        if state.closed {
            return Err(failure::stopping());
        }
        let savepoint = match state.batch().await {
            Ok(batch) => batch.outer.begin().await,
            Err(error) => return Err(failure::from_database(error)),
        };
        match savepoint {
            Ok(savepoint) => Ok(Self { state: Some(state), savepoint: Some(savepoint) }),
            Err(error) => {
                let mut turn = Self { state: Some(state), savepoint: None };
                turn.break_batch(&error);
                turn.leave().await;
                Err(failure::from_database(error))
            }
        }
    }

    pub(crate) fn connection(&self) -> &DatabaseTransaction {
        self.savepoint.as_ref().expect("a turn has its savepoint until it finishes")
    }

    /// Notes that SQLite has given up the whole transaction, so nobody in it is told "done".
    pub(crate) fn break_batch(&mut self, error: &DbErr) {
        if let Some(batch) = self.state.as_mut().and_then(|state| state.batch.as_mut()) {
            batch.broken.get_or_insert_with(|| Arc::new(error.clone()));
        }
    }

    /// Ends the turn. The receiver resolves when the batch does.
    pub(crate) async fn finish(mut self, keep: bool) -> Result<watch::Receiver<Outcome>, DbErr> {
        let savepoint = self.savepoint.take().expect("a turn finishes once");
        let ended = if keep { savepoint.commit().await } else { savepoint.rollback().await };
        if let Err(error) = &ended {
            self.break_batch(error);
        }
        let outcome = self.leave().await;
        ended.map(|()| outcome)
    }

    /// Hands the batch to the next writer in the queue, or commits it when there is none.
    async fn leave(&mut self) -> watch::Receiver<Outcome> {
        let Some(mut state) = self.state.take() else { return watch::Sender::new(None).subscribe() };
        let waiting = state.statistics.lane_waiting();
        let Some(batch) = state.batch.as_mut() else { return watch::Sender::new(None).subscribe() };
        batch.writers += 1;
        let outcome = batch.outcome.subscribe();
        let goes_on =
            waiting > 0 && batch.broken.is_none() && batch.writers < BATCH_WRITERS && batch.began.elapsed() < BATCH_AGE;
        if !goes_on {
            state.close_batch().await;
        }
        outcome
    }
}

impl Drop for Turn {
    /// A caller that went away while it was given the lane still leaves it in order.
    fn drop(&mut self) {
        let (Some(savepoint), Some(state)) = (self.savepoint.take(), self.state.take()) else { return };
        // Without a runtime the process is ending, and SQLite rolls back by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // The task holds the parts: a runtime that is ending drops it at once, and a Turn in it
        // would come back here for ever.
        runtime.spawn(async move {
            let turn = Self { state: Some(state), savepoint: Some(savepoint) };
            let _ = turn.finish(false).await;
        });
    }
}

/// Waits until the batch is on disk.
pub(crate) async fn durable(mut outcome: watch::Receiver<Outcome>) -> Result<(), Arc<DbErr>> {
    let lost = || Arc::new(DbErr::Custom("the batch was given up".to_owned()));
    match outcome.wait_for(Option::is_some).await {
        Ok(settled) => settled.clone().unwrap_or_else(|| Err(lost())),
        Err(_) => Err(lost()),
    }
}
