//! Moves the rows of one table, a batch at a time, and computes its checksum. Not for deciding what
//! is copied: see `plan`.

use futures_util::TryStreamExt as _;
use kernel::{Error, Result};

use super::cell::Cell;
use super::plan::TablePlan;
use super::queries::{self, EVENT_LOG};
use super::side::Side;
use super::{Phase, Progress, TableReport, Watch};
use crate::checksum::TableDigest;

/// The rows that one statement inserts.
const BATCH_ROWS: usize = 500;
/// The memory that a batch may take before it is sent.
const BATCH_BYTES: usize = 4 << 20;
/// SQLite binds 32,766 values in one statement, PostgreSQL 65,535.
const BATCH_VALUES: usize = 32_000;

/// Copies a table and returns what was read. Events without a position get the next ones, in the
/// order of their insertion, as a relay would give them.
pub(crate) async fn copy_table(
    source: &mut Side,
    target: &mut Side,
    table: &TablePlan,
    last_position: &mut i64,
    progress: Watch<'_>,
) -> Result<TableReport> {
    let most = (BATCH_VALUES / table.targets.len().max(1)).clamp(1, BATCH_ROWS);
    let position =
        (table.name == EVENT_LOG).then(|| table.columns.iter().position(|column| column == "position")).flatten();
    let mut digest = TableDigest::new(&table.columns);
    let (mut batch, mut bytes, mut copied) = (Vec::with_capacity(most), 0, 0);
    progress(Progress { phase: Phase::Copying, table: table.name.clone(), rows: 0 });
    let mut rows = source.stream(queries::read_rows(&table.name, &table.columns));
    loop {
        let row = rows.try_next().await.map_err(|error| error.context(reading(&table.name)))?;
        let ended = row.is_none();
        if let Some(mut row) = row {
            if let Some(place) = position {
                let given = match row[place] {
                    Cell::Integer(given) => given,
                    _ => *last_position + 1,
                };
                *last_position = given.max(*last_position);
                row[place] = Cell::Integer(given);
            }
            digest.add(&row);
            bytes += row.iter().map(Cell::size).sum::<usize>();
            batch.push(row);
        }
        if !batch.is_empty() && (ended || batch.len() == most || bytes > BATCH_BYTES) {
            refuse_misfits(target, table, &batch)?;
            let inserted = target.insert(&table.name, &table.targets, &batch).await;
            inserted.map_err(|error| error.context(format!("while filling {}", table.name)))?;
            copied += batch.len() as u64;
            progress(Progress { phase: Phase::Copying, table: table.name.clone(), rows: copied });
            batch.clear();
            bytes = 0;
        }
        if ended {
            break;
        }
    }
    let (rows, checksum) = digest.finish();
    Ok(TableReport { table: table.name.clone(), rows, checksum })
}

/// Reads a table as it is stored and returns its count and checksum.
pub(crate) async fn check_table(
    side: &mut Side,
    table: &str,
    columns: &[String],
    progress: Watch<'_>,
) -> Result<TableReport> {
    let mut digest = TableDigest::new(columns);
    let mut read = 0;
    let mut rows = side.stream(queries::read_rows(table, columns));
    while let Some(row) = rows.try_next().await.map_err(|error| error.context(reading(table)))? {
        digest.add(&row);
        read += 1;
        if read % (20 * BATCH_ROWS as u64) == 0 {
            progress(Progress { phase: Phase::Checking, table: table.to_owned(), rows: read });
        }
    }
    progress(Progress { phase: Phase::Checking, table: table.to_owned(), rows: read });
    let (rows, checksum) = digest.finish();
    Ok(TableReport { table: table.to_owned(), rows, checksum })
}

fn reading(table: &str) -> String {
    format!("while reading {table}")
}

fn refuse_misfits(target: &Side, table: &TablePlan, batch: &[Vec<Cell>]) -> Result<()> {
    for column in &table.targets {
        for row in batch {
            if let Some(why) = row[column.from].misfit(target.engine(), column.holds) {
                return Err(Error::conflict(
                    "store.transfer_value",
                    format!(
                        "a value in {}.{} cannot be copied, so nothing was kept: {why}. Correct it \
                         in the source and start again",
                        table.name, column.name
                    ),
                ));
            }
        }
    }
    Ok(())
}
