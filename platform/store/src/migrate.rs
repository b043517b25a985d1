//! Brings a database's schema forward, step by step, and refuses one that is newer than this
//! binary (decision 0009). Steps only move forward and must work with the version before. Not for
//! moving data between engines: see `transfer`.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{Clock, Error, Result};
use sea_orm::sqlx::Sqlite;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use sha2::{Digest as _, Sha256};

use crate::engine::{self, Config, Engine};
use crate::failure::from_database;
use crate::own_tables::STORE;
use crate::schema::{APPLICATION_ROLE, Schema};
use crate::system::Purpose;

/// One step of a service's schema. Its name and what it does never change once released.
#[derive(Clone, Copy)]
pub struct Step {
    /// The step's name, unique in its service, such as `0001_items`.
    pub name: &'static str,
    /// Adds the step's statements.
    pub apply: fn(&mut Schema),
}

/// The steps of one service, oldest first.
#[derive(Clone, Copy)]
pub struct Migrations {
    /// The service that owns the tables.
    pub service: &'static str,
    /// Its steps.
    pub steps: &'static [Step],
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The steps that this run applied, as `service/step`.
    pub applied: Vec<String>,
    /// How many were there already.
    pub present: usize,
}

/// Applies every step that is missing. Runs alone: under an advisory lock on PostgreSQL, in one
/// exclusive transaction on SQLite.
pub async fn migrate(config: &Config, services: &[Migrations], clock: &Clock) -> Result<Report> {
    migrate_to(config, services, clock, None).await
}

/// Applies the missing ones of these steps, or all: a copy gets the schema of its source first.
pub(crate) async fn migrate_to(
    config: &Config,
    services: &[Migrations],
    clock: &Clock,
    only: Option<&BTreeSet<String>>,
) -> Result<Report> {
    let (connection, engine) = open(config).await?;
    let alone = TransactionOptions {
        sqlite_transaction_mode: (engine == Engine::Sqlite).then_some(SqliteTransactionMode::Exclusive),
        ..TransactionOptions::default()
    };
    let transaction = connection.begin_with_options(alone).await.map_err(from_database)?;
    let run = apply_all(&transaction, config, services, clock, only).await;
    let report = match run {
        Ok(report) => {
            transaction.commit().await.map_err(from_database)?;
            report
        }
        Err(error) => {
            let _ = transaction.rollback().await;
            let _ = connection.close().await;
            return Err(error);
        }
    };
    connection.close().await.map_err(from_database)?;
    Ok(report)
}

/// Says which steps are missing, and refuses a database that is newer than this binary.
pub async fn pending(config: &Config, services: &[Migrations]) -> Result<Vec<String>> {
    let (connection, _) = open(config).await?;
    let known = known_steps(&connection).await;
    let _ = connection.close().await;
    let known = known?;
    refuse_newer(known.keys(), services)?;
    Ok(all_steps(services).map(|(name, _)| name).filter(|name| !known.contains_key(name)).collect())
}

async fn open(config: &Config) -> Result<(DatabaseConnection, Engine)> {
    let engine = config.engine()?;
    let connection = match engine {
        Engine::Sqlite => {
            let options = engine::sqlite_options(config).foreign_keys(false);
            let pool = PoolOptions::<Sqlite>::new().max_connections(1).connect_with(options).await;
            let wrap = |error| sea_orm::DbErr::Conn(sea_orm::RuntimeErr::SqlxError(std::sync::Arc::new(error)));
            DatabaseConnection::from(pool.map_err(|error| from_database(wrap(error)))?)
        }
        Engine::Postgres => {
            let url = if config.owner_url.is_empty() { &config.url } else { &config.owner_url };
            engine::open_postgres(config, url).await?
        }
    };
    Ok((connection, engine))
}

fn all_steps(services: &[Migrations]) -> impl Iterator<Item = (String, Step)> {
    let list = std::iter::once(STORE).chain(services.iter().copied());
    list.flat_map(|service| service.steps.iter().map(move |step| (format!("{}/{}", service.service, step.name), *step)))
}

async fn known_steps(connection: &impl ConnectionTrait) -> Result<BTreeMap<String, String>> {
    let backend = connection.get_database_backend();
    let exists = match backend {
        sea_orm::DbBackend::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_step'",
        _ => "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_step'",
    };
    let count = engine::setting(connection, exists).await?;
    if count == "0" {
        return Ok(BTreeMap::new());
    }
    let statement = Statement::from_string(backend, "SELECT name, checksum FROM schema_step");
    let rows = connection.query_all_raw(statement).await.map_err(from_database)?;
    rows.iter()
        .map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)))
        .collect::<Result<_, sea_orm::DbErr>>()
        .map_err(from_database)
}

/// Refuses a database that has a step which this binary does not know.
pub(crate) fn refuse_newer<'a>(mut known: impl Iterator<Item = &'a String>, services: &[Migrations]) -> Result<()> {
    let ours: Vec<String> = all_steps(services).map(|(name, _)| name).collect();
    match known.find(|name| !ours.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Error::conflict(
            "store.schema_newer",
            format!("the database has the step {name}, which this version does not know: start a newer version"),
        )),
    }
}

async fn apply_all(
    transaction: &DatabaseTransaction,
    config: &Config,
    services: &[Migrations],
    clock: &Clock,
    only: Option<&BTreeSet<String>>,
) -> Result<Report> {
    let engine = config.engine()?;
    if engine == Engine::Postgres {
        run(transaction, "SELECT pg_advisory_xact_lock(7237421)").await?;
        create_roles(transaction, &config.url).await?;
    }
    run(
        transaction,
        "CREATE TABLE IF NOT EXISTS schema_step (name TEXT PRIMARY KEY, checksum TEXT NOT NULL, \
         applied_at BIGINT NOT NULL, binary_version TEXT NOT NULL)",
    )
    .await?;
    if engine == Engine::Postgres {
        let role = Purpose::Transfer.role();
        run(transaction, &format!("GRANT SELECT ON schema_step TO {role}")).await?;
    }
    let known = known_steps(transaction).await?;
    refuse_newer(known.keys(), services)?;
    let mut report = Report::default();
    for (name, step) in all_steps(services) {
        let mut schema = Schema::new(engine);
        (step.apply)(&mut schema);
        let statements = schema.into_statements();
        let checksum = checksum(&statements);
        match known.get(&name) {
            Some(applied) if *applied == checksum => report.present += 1,
            Some(_) => {
                return Err(Error::conflict(
                    "store.step_changed",
                    format!(
                        "the step {name} is not what was applied to this database: steps never change, add a new one"
                    ),
                ));
            }
            None if only.is_some_and(|only| !only.contains(&name)) => {}
            None => {
                for statement in &statements {
                    run(transaction, statement)
                        .await
                        .map_err(|error| error.context(format!("in step {name}: {statement}")))?;
                }
                record(transaction, &name, &checksum, clock).await?;
                report.applied.push(name);
            }
        }
    }
    Ok(report)
}

async fn run(transaction: &DatabaseTransaction, sql: &str) -> Result<()> {
    transaction.execute_unprepared(sql).await.map(|_| ()).map_err(from_database)
}

async fn record(transaction: &DatabaseTransaction, name: &str, checksum: &str, clock: &Clock) -> Result<()> {
    let backend = transaction.get_database_backend();
    let values = [name.into(), checksum.into(), clock.now().0.into(), env!("CARGO_PKG_VERSION").into()];
    let sql = match backend {
        sea_orm::DbBackend::Sqlite => {
            "INSERT INTO schema_step (name, checksum, applied_at, binary_version) VALUES (?, ?, ?, ?)"
        }
        _ => "INSERT INTO schema_step (name, checksum, applied_at, binary_version) VALUES ($1, $2, $3, $4)",
    };
    let statement = Statement::from_sql_and_values(backend, sql, values);
    transaction.execute_raw(statement).await.map(|_| ()).map_err(from_database)
}

/// Roles belong to the whole server, so two databases may create them at the same moment.
///
/// The login of `url` becomes a member of them: a transaction takes the role that it needs with
/// SET LOCAL ROLE, whether or not that login owns the tables.
async fn create_roles(transaction: &DatabaseTransaction, url: &str) -> Result<()> {
    let login: PgConnectOptions = url.parse().map_err(|error| {
        Error::invalid("store.invalid_url", "store.url is not a valid PostgreSQL URL").source_error(error)
    })?;
    let login = login.get_username().replace('"', "\"\"");
    for role in Purpose::ALL.map(Purpose::role).into_iter().chain([APPLICATION_ROLE]) {
        let sql = format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN \
             CREATE ROLE {role} NOLOGIN NOINHERIT NOBYPASSRLS; END IF; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; \
             DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema()); END $$; \
             DO $$ BEGIN IF NOT pg_has_role('{quoted}', '{role}', 'MEMBER') THEN \
             GRANT {role} TO \"{login}\"; END IF; END $$",
            quoted = login.replace('\'', "''")
        );
        run(transaction, &sql).await?;
    }
    Ok(())
}

fn checksum(statements: &[String]) -> String {
    let mut hash = Sha256::new();
    for statement in statements {
        hash.update(statement.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
