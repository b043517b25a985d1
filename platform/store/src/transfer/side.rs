//! One end of a transfer: a connection of its own with one open transaction, which is a snapshot to
//! read from or the change that fills the target. Dropping it undoes the change. Not the store's
//! pools: a transfer runs for longer than any request may.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use kernel::{Error, Result};
use sea_orm::sqlx::postgres::{PgArguments, PgConnectOptions};
use sea_orm::sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use sea_orm::{DbErr, RuntimeErr};

use super::cell::{self, Cell};
use super::plan::Target;
use super::queries;
use crate::engine::{self, Config, Engine};
use crate::failure::from_database;

pub(crate) enum Side {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

pub(crate) fn failed(error: sqlx::Error) -> Error {
    from_database(DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))))
}

async fn connect_sqlite(options: SqliteConnectOptions) -> Result<Side> {
    let connection = options.disable_statement_logging().connect().await;
    connection.map(|connection| Side::Sqlite(Box::new(connection))).map_err(failed)
}

async fn connect_postgres(config: &Config) -> Result<Side> {
    let options = PgConnectOptions::from_str(&config.url).map_err(|error| {
        Error::invalid("store.invalid_url", "this is not a valid PostgreSQL URL").source_error(error)
    })?;
    let options = options.application_name("portico transfer").disable_statement_logging();
    let connection = options.connect().await;
    connection.map(|connection| Side::Postgres(Box::new(connection))).map_err(failed)
}

impl Side {
    /// Opens one snapshot of a store. Call [`Side::take_role`] before reading rows.
    pub(crate) async fn read_store(config: &Config) -> Result<Self> {
        let mut side = match config.engine()? {
            Engine::Sqlite => {
                let path = config.sqlite_path().unwrap_or_default();
                if !path.is_file() {
                    return Err(Error::not_found(
                        "store.transfer_source_missing",
                        format!("there is no database at {}: check the URL", path.display()),
                    ));
                }
                let options = engine::sqlite_options(config).create_if_missing(false);
                connect_sqlite(options.pragma("query_only", "ON")).await?
            }
            Engine::Postgres => connect_postgres(config).await?,
        };
        side.run(queries::begin_reading(side.engine())).await?;
        Ok(side)
    }

    /// Opens a backup, which nothing may change, not even its journal.
    pub(crate) async fn read_file(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut side = connect_sqlite(options.pragma("cell_size_check", "ON")).await?;
        side.run(queries::begin_reading(Engine::Sqlite)).await?;
        Ok(side)
    }

    /// Opens a store that may turn out to be somebody else's, without changing anything about it.
    pub(crate) async fn look_at(config: &Config) -> Result<Self> {
        match config.sqlite_path() {
            Some(path) => Self::read_file(&path).await,
            None => Self::read_store(config).await,
        }
    }

    /// Opens a file that is about to become a backup: whole in itself, without a journal beside it,
    /// and without a transaction.
    pub(crate) async fn edit_file(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Full);
        connect_sqlite(options).await
    }

    /// Opens the change that fills a store. Call [`Side::take_role`] before touching rows.
    pub(crate) async fn fill_store(config: &Config) -> Result<Self> {
        let mut side = match config.engine()? {
            Engine::Sqlite => connect_sqlite(engine::sqlite_options(config)).await?,
            Engine::Postgres => connect_postgres(config).await?,
        };
        side.run(queries::begin_filling(side.engine())).await?;
        Ok(side)
    }

    /// Leaves every right behind but those of a transfer. Without that role row-level security may
    /// hide rows, and a copy with missing rows would look like a whole one.
    pub(crate) async fn take_role(&mut self) -> Result<()> {
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        let role = crate::Purpose::Transfer.role();
        self.run(&queries::take_role()).await.map_err(|error| {
            Error::forbidden(
                "store.transfer_role_missing",
                format!(
                    "the database login may not take the role {role}: run `portico migrate` as the \
                     owner, then GRANT {role} TO the login"
                ),
            )
            .source_error(error)
        })
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs statements that give nothing back.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(connection) => statements.execute(&mut **connection).await.map(|_| ()),
            Self::Postgres(connection) => statements.execute(&mut **connection).await.map(|_| ()),
        }
        .map_err(failed)
    }

    /// Reads rows one by one, however many there are.
    pub(crate) fn stream(&mut self, sql: String) -> BoxStream<'_, Result<Vec<Cell>>> {
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(connection) => sqlx::query(sql)
                .fetch(&mut **connection)
                .map(|row| row.and_then(|row| cell::from_sqlite(&row)).map_err(failed))
                .boxed(),
            Self::Postgres(connection) => sqlx::query(sql)
                .fetch(&mut **connection)
                .map(|row| row.and_then(|row| cell::from_postgres(&row)).map_err(failed))
                .boxed(),
        }
    }

    /// Reads a few rows.
    pub(crate) async fn rows(&mut self, sql: impl Into<String>) -> Result<Vec<Vec<Cell>>> {
        self.stream(sql.into()).try_collect().await
    }

    /// Reads one value; a query without a row gives nothing.
    pub(crate) async fn value(&mut self, sql: impl Into<String>) -> Result<Cell> {
        let rows = self.rows(sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or(Cell::Null))
    }

    /// Inserts these rows.
    pub(crate) async fn insert(&mut self, table: &str, columns: &[Target], rows: &[Vec<Cell>]) -> Result<()> {
        let names = columns.iter().map(|column| column.name.as_str());
        let sql = AssertSqlSafe(queries::insert_rows(self.engine(), table, names, rows.len()));
        let cells = rows.iter().flat_map(|row| columns.iter().map(move |column| (column, row)));
        let done = match self {
            Self::Sqlite(connection) => {
                let mut arguments = SqliteArguments::default();
                for (column, row) in cells {
                    row[column.from].bind_sqlite(&mut arguments).map_err(failed)?;
                }
                sqlx::query_with(sql, arguments).execute(&mut **connection).await.map(|_| ())
            }
            Self::Postgres(connection) => {
                let mut arguments = PgArguments::default();
                for (column, row) in cells {
                    row[column.from].bind_postgres(column.holds, &mut arguments).map_err(failed)?;
                }
                sqlx::query_with(sql, arguments).execute(&mut **connection).await.map(|_| ())
            }
        };
        done.map_err(failed)
    }

    /// Makes the change permanent and closes the connection.
    pub(crate) async fn commit(mut self) -> Result<()> {
        self.run("COMMIT").await?;
        self.close().await;
        Ok(())
    }

    /// Closes the connection; what is not committed is undone.
    pub(crate) async fn close(self) {
        let closed = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
        if let Err(error) = closed {
            tracing::warn!(error = %error, "a connection of the transfer did not close cleanly");
        }
    }
}
