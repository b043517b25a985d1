//! A transaction on PostgreSQL that begins with all it needs in one message and, when it is let go, is
//! rolled back in the message with which its connection returns to the pool. Each message more is a way
//! to the server and back, which is most of what a small read costs. Not for SQLite, which has no way
//! to go.

use std::io;
use std::time::Instant;

use kernel::TenantId;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Database, Executor as _, PgConnection, PgPool, Postgres, SqlSafeStr as _};
use sea_orm::{ConnAcquireErr, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values};
use sea_query_sqlx::SqlxValues;
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::Mutex;

use crate::schema;
use crate::system::Purpose;

/// What sqlx's own transactions are made of. They return their connection to the pool even when its opening
/// was abandoned half-way, which is why there is one of our own here.
type Manager = <Postgres as Database>::TransactionManager;

/// What a transaction is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// A snapshot; nothing can be changed.
    Read,
    /// Changes. The relay looks again behind its fence, which needs READ COMMITTED whatever the server's
    /// default.
    Write,
}

/// How a transaction begins. There is nothing in it that a caller wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opening {
    /// As the login, for a sign of life and for tests of the first wall alone.
    Plain,
    /// Behind the second wall: a role that owns nothing, and the tenant that row-level security compares
    /// with. Both end with the transaction, so a pooled connection carries neither to its next borrower.
    Tenant(Access, TenantId),
    /// Under the role of a system purpose.
    System(Access, Purpose),
}

impl Opening {
    fn statement(self) -> String {
        let begin = |access| match access {
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            Access::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
        };
        match self {
            Self::Plain => "BEGIN".to_owned(),
            Self::Tenant(access, tenant) => {
                let (begin, role, tenant) = (begin(access), schema::APPLICATION_ROLE, tenant.uuid());
                format!("{begin}; SET LOCAL ROLE {role}; SELECT set_config('app.tenant', '{tenant}', true)")
            }
            Self::System(access, purpose) => format!("{}; SET LOCAL ROLE {}", begin(access), purpose.role()),
        }
    }
}

/// A transaction on a pooled connection; dropping it rolls back.
pub(crate) struct Link(Mutex<Lease>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// What the server has made of the opening is not known.
    Opening,
    Open,
    Ended,
}

/// A pooled connection that is handed back in order, or not at all.
struct Lease {
    connection: PoolConnection<Postgres>,
    state: State,
}

impl Lease {
    fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.state {
            // The caller went away meanwhile, or a part of it failed: the server may be in a transaction that
            // sqlx knows nothing of, with a role and a tenant that the next borrower must not find.
            State::Opening => self.connection.close_on_drop(),
            // Goes out with the pool's check of the returned connection; nobody gets it before.
            State::Open => Manager::start_rollback(&mut self.connection),
            State::Ended => {}
        }
    }
}

impl Link {
    /// Takes a connection from the pool and begins. A connection that had died in the pool is replaced:
    /// nothing has been done on it yet.
    pub(crate) async fn begin(pool: &PgPool, opening: Opening) -> Result<Self, DbErr> {
        let (statement, began) = (AssertSqlSafe(opening.statement()).into_sql_str(), Instant::now());
        let patience = pool.options().get_acquire_timeout();
        // Each failure takes one dead connection out of the pool, so this ends at a new one.
        let mut chances = pool.options().get_max_connections();
        loop {
            let connection = pool.acquire().await.map_err(not_acquired)?;
            let mut lease = Lease { connection, state: State::Opening };
            let opened = Manager::begin(lease.connection(), Some(statement.clone()));
            let error = match tokio::time::timeout(patience, opened).await {
                Ok(Ok(())) => {
                    lease.state = State::Open;
                    return Ok(Self(Mutex::new(lease)));
                }
                Ok(Err(error)) if chances > 0 && began.elapsed() < patience && is_lost(&error) => {
                    tracing::info!(error = %error, "a pooled connection was dead: trying the next");
                    chances -= 1;
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::Io(io::ErrorKind::TimedOut.into()),
            };
            return Err(query_error(error));
        }
    }

    /// Commits or rolls back, and waits for the server's word.
    pub(crate) async fn finish(self, keep: bool) -> Result<(), DbErr> {
        let mut lease = self.0.into_inner();
        if keep {
            Manager::commit(lease.connection()).await.map_err(query_error)?;
        } else {
            Manager::rollback(lease.connection()).await.map_err(query_error)?;
        }
        lease.state = State::Ended;
        Ok(())
    }

    pub(crate) async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut lease = self.0.lock().await;
        prepared(statement).execute(lease.connection()).await.map(Into::into).map_err(exec_error)
    }

    pub(crate) async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut lease = self.0.lock().await;
        let sent = lease.connection().execute(AssertSqlSafe(sql.to_owned())).await;
        sent.map(Into::into).map_err(exec_error)
    }

    pub(crate) async fn query_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut lease = self.0.lock().await;
        let row = prepared(statement).fetch_optional(lease.connection()).await.map_err(query_error)?;
        Ok(row.map(Into::into))
    }

    pub(crate) async fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lease = self.0.lock().await;
        let rows = prepared(statement).fetch_all(lease.connection()).await.map_err(query_error)?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

/// Says whether the connection is gone: cut, or ended by a server that shuts down.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(known) => {
            known.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
        }
        _ => false,
    }
}

fn not_acquired(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        other => DbErr::Conn(RuntimeErr::SqlxError(other.into())),
    }
}

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

/// A prepared statement with its values. Its text comes from sea-query or from this crate; what callers
/// bring is in the values.
fn prepared(statement: Statement) -> sqlx::query::Query<'static, Postgres, SqlxValues> {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}
