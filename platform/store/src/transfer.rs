//! Copies a whole store between engines, in either direction, and proves that the copy is the same:
//! one snapshot of the source, one transaction on the target, a count and a checksum of every table
//! on both sides before anything is kept. Backups are such copies in a file. Not for moving one
//! tenant, and not for merging: the target must be empty.

mod backup;
mod cell;
mod copy;
mod file;
mod plan;
mod queries;
mod side;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use kernel::{Clock, Error, Result};
use serde::{Deserialize, Serialize};

use crate::checksum::Checksum;
use crate::engine::{Config, Engine};
use crate::migrate::{self, Migrations};
use crate::{Purpose, Store, relay};
use queries::NOT_DATA;
use side::Side;

pub use backup::{backup, restore};
pub(crate) use cell::Cell;

/// What a transfer is doing with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its rows are copied.
    Copying,
    /// Its rows are read and their checksum is computed.
    Checking,
}

/// How far a transfer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// The table.
    pub table: String,
    /// How many of its rows are done.
    pub rows: u64,
}

/// Is told how far a transfer is.
pub type Watch<'w> = &'w mut (dyn FnMut(Progress) + Send);

/// One table of a transfer, the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// The fingerprint of its rows, the same on every engine.
    pub checksum: Checksum,
}

/// What a transfer copied; every count and checksum was computed on both sides and found equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferReport {
    /// The engine that was read.
    pub from: Engine,
    /// The engine that was filled.
    pub to: Engine,
    /// The tables in the order of their names.
    pub tables: Vec<TableReport>,
    /// The position of the last event.
    pub last_position: i64,
}

impl TransferReport {
    /// Returns the number of rows in all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

impl fmt::Display for TransferReport {
    /// Writes a table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.tables.iter().map(|table| table.table.len()).max().unwrap_or(0).max(5);
        writeln!(f, "{:width$}  {:>12}  {:12}", "table", "rows", "checksum")?;
        for TableReport { table, rows, checksum } in &self.tables {
            writeln!(f, "{table:width$}  {rows:>12}  {}", checksum.short())?;
        }
        write!(f, "{:width$}  {:>12}", "total", self.rows())
    }
}

/// Copies everything into an empty store. The target is migrated to the steps that the source has,
/// filled, compared, and then migrated to the end; when anything fails, no row is kept.
pub async fn transfer(
    from: &Config,
    to: &Config,
    services: &[Migrations],
    clock: &Clock,
    progress: Watch<'_>,
) -> Result<TransferReport> {
    to.engine()?;
    number_events(from, clock).await?;
    let mut source = Side::read_store(from).await?;
    source.take_role().await?;
    let report = copy_into(&mut source, to, services, clock, progress).await;
    source.close().await;
    let report = report?;
    migrate::migrate(to, services, clock).await?;
    Ok(report)
}

/// Runs the relay, so that as few events as possible are numbered by the copy itself.
async fn number_events(from: &Config, clock: &Clock) -> Result<()> {
    if from.engine()? == Engine::Sqlite {
        return Ok(());
    }
    let numbered = match Store::open(from.clone(), clock.clone()).await {
        Ok(store) => {
            let numbered = relay::assign_positions(&store).await;
            store.close().await;
            numbered
        }
        Err(error) => Err(error),
    };
    if let Err(error) = numbered {
        // A replica cannot be written to; the copy gives the numbers that a relay would give now.
        tracing::warn!(error = %error, "the relay could not run before the copy");
    }
    Ok(())
}

/// Copies a snapshot into a store, which keeps the steps of the source.
async fn copy_into(
    source: &mut Side,
    to: &Config,
    services: &[Migrations],
    clock: &Clock,
    progress: Watch<'_>,
) -> Result<TransferReport> {
    let began = Instant::now();
    let steps = plan::steps(source).await?;
    if steps.is_empty() {
        return Err(not_portico());
    }
    migrate::refuse_newer(steps.iter(), services)?;
    refuse_filled_before_migrating(to).await?;
    migrate::migrate_to(to, services, clock, Some(&steps)).await?;
    let mut target = Side::fill_store(to).await?;
    let filled = fill(source, &mut target, &steps, progress).await;
    let report = match filled {
        Ok(report) => target.commit().await.map(|()| report)?,
        Err(error) => {
            target.close().await;
            return Err(error);
        }
    };
    tracing::info!(
        purpose = ?Purpose::Transfer, from = ?report.from, to = ?report.to, rows = report.rows(),
        duration_ms = began.elapsed().as_millis() as u64, "everything was copied and compared"
    );
    Ok(report)
}

fn not_portico() -> Error {
    Error::invalid(
        "store.not_portico",
        "the source is not a Portico database: check the URL, or run `portico migrate` on it first",
    )
}

/// Looks before the migration, which would already be a change.
async fn refuse_filled_before_migrating(to: &Config) -> Result<()> {
    if to.sqlite_path().is_some_and(|path| !path.exists()) {
        return Ok(());
    }
    let mut target = Side::look_at(to).await?;
    let checked = async {
        if !plan::steps(&mut target).await?.is_empty() {
            target.take_role().await?;
            return refuse_filled(&mut target).await;
        }
        let foreign = target.rows(queries::columns(target.engine())).await?;
        let names: BTreeSet<&str> = foreign.iter().map(|row| row[0].text()).collect();
        if names.is_empty() { Ok(()) } else { Err(not_empty(names)) }
    };
    let checked = checked.await;
    target.close().await;
    checked
}

async fn refuse_filled(target: &mut Side) -> Result<()> {
    let columns = target.rows(queries::columns(target.engine())).await?;
    let tables: BTreeSet<&str> = columns.iter().map(|row| row[0].text()).collect();
    let mut filled = Vec::new();
    for table in tables.into_iter().filter(|table| !NOT_DATA.contains(table)) {
        if !target.rows(queries::any_row(table)).await?.is_empty() {
            filled.push(table);
        }
    }
    if filled.is_empty() { Ok(()) } else { Err(not_empty(filled)) }
}

fn not_empty<'a>(tables: impl IntoIterator<Item = &'a str>) -> Error {
    Error::conflict(
        "store.transfer_target_not_empty",
        format!(
            "the target already holds something ({}) and was left as it is: name a new, empty \
             database",
            plan::list(tables.into_iter())
        ),
    )
}

async fn fill(
    source: &mut Side,
    target: &mut Side,
    steps: &BTreeSet<String>,
    progress: Watch<'_>,
) -> Result<TransferReport> {
    target.take_role().await?;
    if plan::steps(target).await? != *steps {
        return Err(Error::conflict(
            "store.transfer_schema_differs",
            "the target's schema is newer than the source's: run `portico migrate` on the source, \
             or name a new database as the target",
        ));
    }
    refuse_filled(target).await?;
    let plan = plan::plan(source, target).await?;
    if !plan.deferred.is_empty() {
        target.run(&queries::defer(target.engine(), &plan.deferred)).await?;
    }
    let mut last = source.value(queries::last_position(source.engine())).await?.integer();
    let mut tables = Vec::with_capacity(plan.tables.len());
    for table in &plan.tables {
        tables.push(copy::copy_table(source, target, table, &mut last, progress).await?);
    }
    target.run(&queries::continue_after(target.engine(), last)).await?;
    for (table, read) in plan.tables.iter().zip(&tables) {
        let written = copy::check_table(target, &table.name, &table.columns, progress).await?;
        if written != *read {
            return Err(Error::conflict(
                "store.transfer_mismatch",
                format!(
                    "{} is not the same on both sides ({} rows {} and {} rows {}), so nothing was \
                     kept: make sure that nothing else writes to the target and start again",
                    table.name,
                    read.rows,
                    read.checksum.short(),
                    written.rows,
                    written.checksum.short()
                ),
            ));
        }
    }
    tables.sort_by(|left, right| left.table.cmp(&right.table));
    Ok(TransferReport { from: source.engine(), to: target.engine(), tables, last_position: last })
}
