//! An open transaction of either engine, and the statements that run in it. Not for who may use it and
//! how long: see `session`.

use std::sync::Arc;

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use crate::failure;
use crate::lane::{self, Turn};
use crate::link::Link;
use crate::statistics::InUse;

/// A transaction of either engine.
pub(crate) enum Open {
    /// A savepoint in SQLite's write lane.
    Lane(Turn),
    /// A snapshot on one of SQLite's reading connections.
    Pool(DatabaseTransaction, InUse),
    /// A transaction on a PostgreSQL connection.
    Link(Link, InUse),
}

impl Open {
    /// Says whether dropping it is a whole rollback, whatever becomes of who drops it.
    pub(crate) fn ends_by_itself(&self) -> bool {
        matches!(self, Self::Link(..))
    }

    /// Notes a failed statement, which may have ended SQLite's whole transaction.
    pub(crate) fn note_failure(&mut self, error: &DbErr) {
        if let Self::Lane(turn) = self
            && failure::breaks_transaction(error)
        {
            turn.break_batch(error);
        }
    }

    /// Commits or rolls back, and waits for it.
    pub(crate) async fn finish(self, keep: bool) -> Result<(), Arc<DbErr>> {
        match self {
            Self::Lane(turn) => {
                let outcome = turn.finish(keep).await.map_err(Arc::new)?;
                if keep { lane::durable(outcome).await } else { Ok(()) }
            }
            Self::Pool(transaction, _in_use) if keep => transaction.commit().await.map_err(Arc::new),
            Self::Pool(transaction, _in_use) => transaction.rollback().await.map_err(Arc::new),
            Self::Link(link, _in_use) => link.finish(keep).await.map_err(Arc::new),
        }
    }
}

#[async_trait]
impl ConnectionTrait for Open {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Lane(_) | Self::Pool(..) => DbBackend::Sqlite,
            Self::Link(..) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Lane(turn) => turn.connection().execute_raw(statement).await,
            Self::Pool(transaction, _) => transaction.execute_raw(statement).await,
            Self::Link(link, _) => link.execute(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Lane(turn) => turn.connection().execute_unprepared(sql).await,
            Self::Pool(transaction, _) => transaction.execute_unprepared(sql).await,
            Self::Link(link, _) => link.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Lane(turn) => turn.connection().query_one_raw(statement).await,
            Self::Pool(transaction, _) => transaction.query_one_raw(statement).await,
            Self::Link(link, _) => link.query_one(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Lane(turn) => turn.connection().query_all_raw(statement).await,
            Self::Pool(transaction, _) => transaction.query_all_raw(statement).await,
            Self::Link(link, _) => link.query_all(statement).await,
        }
    }
}
