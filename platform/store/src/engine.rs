//! Opens the engine that a URL names, with the settings that make "acknowledged" mean "on disk",
//! and refuses to start where they do not hold. Not for queries.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Result};
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{Postgres, Sqlite};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, RuntimeErr, Statement};
use serde::{Deserialize, Serialize};

use crate::failure;
use crate::lane::Lane;
use crate::statistics::Statistics;

/// The engines that Portico stores on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// One file, no set-up.
    Sqlite,
    /// PostgreSQL 15 or newer.
    Postgres,
}

/// The two walls between tenants. Not configurable: only a test that is built in can take one away.
#[derive(Clone, Copy, Debug)]
pub struct Walls {
    /// Every query and change carries the tenant in its WHERE clause.
    pub filter: bool,
    /// PostgreSQL's row-level security, under a role that owns nothing.
    pub row_security: bool,
}

impl Default for Walls {
    fn default() -> Self {
        Self { filter: true, row_security: true }
    }
}

/// How the store opens its engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `sqlite:PATH` or `postgres://…`; empty means `portico.db` in the data folder.
    pub url: String,
    /// A PostgreSQL URL of the tables' owner, for migrations only; empty means the same as `url`.
    pub owner_url: String,
    /// Connections for reading (SQLite), or for everything (PostgreSQL).
    pub connections: u32,
    /// How long a request waits for a connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long a writer may hold its transaction, in milliseconds.
    pub write_hold_limit_ms: u64,
    /// How long a reader may hold its snapshot, in milliseconds.
    pub read_age_limit_ms: u64,
    /// Whether a server brings the schema up to date when it starts.
    pub migrate_at_start: bool,
    /// Which of the two walls between tenants stand; tests take one away to try the other alone.
    #[serde(skip)]
    pub walls: Walls,
    /// SQLite: the name of the VFS, for tests of the file system; empty means the default.
    pub sqlite_vfs: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            owner_url: String::new(),
            connections: 8,
            acquire_timeout_ms: 2_000,
            write_hold_limit_ms: 2_000,
            read_age_limit_ms: 10_000,
            migrate_at_start: true,
            walls: Walls::default(),
            sqlite_vfs: String::new(),
        }
    }
}

impl Config {
    /// Returns a configuration for this URL, otherwise with defaults.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Returns the engine that the URL names.
    pub fn engine(&self) -> Result<Engine> {
        if self.url.starts_with("sqlite:") {
            Ok(Engine::Sqlite)
        } else if self.url.starts_with("postgres:") || self.url.starts_with("postgresql:") {
            Ok(Engine::Postgres)
        } else {
            Err(Error::invalid("store.invalid_url", "store.url must start with sqlite: or postgres://"))
        }
    }

    /// Returns how many connections the pool has; one must not be enough to block itself.
    pub(crate) fn pool_size(&self) -> u32 {
        self.connections.max(2)
    }

    /// Returns the file of a SQLite store.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.url.strip_prefix("sqlite:").map(|path| PathBuf::from(path.trim_start_matches("//")))
    }
}

/// The open connections.
pub(crate) enum Connections {
    Sqlite { lane: Lane, readers: DatabaseConnection },
    Postgres { pool: DatabaseConnection },
}

impl Connections {
    /// Opens the store's file or server and checks its settings.
    pub(crate) async fn open(config: &Config, statistics: Arc<Statistics>) -> Result<Self> {
        match config.engine()? {
            Engine::Sqlite => open_sqlite(config, statistics).await,
            Engine::Postgres => Ok(Self::Postgres { pool: open_postgres(config, &config.url).await? }),
        }
    }

    /// Returns the connections that reads use.
    pub(crate) fn readers(&self) -> &DatabaseConnection {
        match self {
            Self::Sqlite { readers, .. } => readers,
            Self::Postgres { pool } => pool,
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres { .. } => Engine::Postgres,
        }
    }
}

fn sqlx_failure(error: sea_orm::sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}

/// The options of every SQLite connection of this store.
pub(crate) fn sqlite_options(config: &Config) -> SqliteConnectOptions {
    let path = config.sqlite_path().unwrap_or_default();
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", "-8000");
    if !config.sqlite_vfs.is_empty() {
        options = options.vfs(config.sqlite_vfs.clone());
    }
    use sea_orm::sqlx::ConnectOptions as _;
    options.disable_statement_logging()
}

async fn open_sqlite(config: &Config, statistics: Arc<Statistics>) -> Result<Connections> {
    let options = sqlite_options(config);
    let lane = Lane::open(options.clone(), statistics).await?;
    let readers = PoolOptions::<Sqlite>::new()
        .max_connections(config.pool_size())
        .min_connections(1)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .test_before_acquire(false)
        // There are several, and each keeps its cache: an export would fill all of them.
        .connect_with(options.pragma("query_only", "ON").pragma("cache_size", "-4000"))
        .await
        .map_err(|error| failure::from_database(sqlx_failure(error)))?;
    let readers = DatabaseConnection::from(readers);
    check(&readers, "PRAGMA synchronous", "2", "SQLite must run with synchronous=FULL").await?;
    check(&readers, "PRAGMA journal_mode", "wal", "SQLite must run with journal_mode=WAL").await?;
    Ok(Connections::Sqlite { lane, readers })
}

/// How long a PostgreSQL connection may lie idle before it is asked whether it is still there. Bursts pay
/// nothing; one that dies sooner is replaced when a transaction cannot begin on it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Opens a pool on a PostgreSQL server and checks that it does not lie about durability.
pub(crate) async fn open_postgres(config: &Config, url: &str) -> Result<DatabaseConnection> {
    use sea_orm::sqlx::ConnectOptions as _;
    let wrong = |error: sea_orm::sqlx::Error| {
        Error::invalid("store.invalid_url", "store.url is not a valid PostgreSQL URL").source_error(error)
    };
    let options: PgConnectOptions = url.parse().map_err(wrong)?;
    let options = options.application_name("portico").disable_statement_logging();
    let pool = PoolOptions::<Postgres>::new()
        .max_connections(config.pool_size())
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move {
                let trusted = known.idle_for <= TRUSTED_IDLE;
                Ok(trusted || sea_orm::sqlx::Connection::ping(connection).await.is_ok())
            })
        })
        .connect_with(options)
        .await
        .map_err(|error| failure::from_database(sqlx_failure(error)))?;
    let pool = DatabaseConnection::from(pool);
    check(&pool, "SHOW fsync", "on", "PostgreSQL must run with fsync=on").await?;
    check(&pool, "SHOW full_page_writes", "on", "PostgreSQL must run with full_page_writes=on").await?;
    let commit = setting(&pool, "SHOW synchronous_commit").await?;
    if matches!(commit.as_str(), "off" | "local") {
        return Err(unsafe_setting("PostgreSQL must run with synchronous_commit=on", &commit));
    }
    let version = setting(&pool, "SHOW server_version_num").await?;
    if version.parse::<u32>().is_ok_and(|number| number < 150_000) {
        return Err(unsafe_setting("PostgreSQL must be version 15 or newer", &version));
    }
    Ok(pool)
}

/// Reads one value as text.
pub(crate) async fn setting(connection: &impl ConnectionTrait, sql: &str) -> Result<String> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await.map_err(failure::from_database)?;
    let row = row.ok_or_else(|| Error::internal(format!("no answer to {sql}")))?;
    let number = |_| row.try_get_by_index::<i64>(0).map(|number| number.to_string());
    row.try_get_by_index::<String>(0).or_else(number).map_err(failure::from_database)
}

async fn check(connection: &impl ConnectionTrait, sql: &str, wanted: &str, rule: &str) -> Result<()> {
    let found = setting(connection, sql).await?;
    if found == wanted { Ok(()) } else { Err(unsafe_setting(rule, &found)) }
}

fn unsafe_setting(rule: &str, found: &str) -> Error {
    Error::invalid("store.unsafe_setting", format!("{rule}, but it answers {found}: refusing to start"))
}
