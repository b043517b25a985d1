//! Backups: one SQLite file that carries its own proof, from either engine, taken while the server
//! runs, and restored to either engine. Not for the secrets beside the data: the master key must be
//! kept elsewhere, see decision 0007.

use std::path::Path;

use kernel::{Clock, Error, Result};

use super::file::{Partial, refuse_existing, text};
use super::plan::{self, Tables};
use super::queries;
use super::side::Side;
use super::{TableReport, TransferReport, Watch, copy, copy_into, not_portico, number_events};
use crate::engine::{Config, Engine};
use crate::migrate::{self, Migrations};

/// Writes everything, as of one moment, into a new file.
pub async fn backup(
    from: &Config,
    file: &Path,
    services: &[Migrations],
    clock: &Clock,
    progress: Watch<'_>,
) -> Result<TransferReport> {
    refuse_existing(file)?;
    let partial = Partial::beside(file, clock)?;
    let report = match from.engine()? {
        Engine::Sqlite => {
            copy_file(from, &partial.path).await?;
            seal(&partial.path, Engine::Sqlite, clock, progress).await?
        }
        Engine::Postgres => {
            number_events(from, clock).await?;
            let mut source = Side::read_store(from).await?;
            source.take_role().await?;
            let to = Config::at(format!("sqlite:{}", partial.text()?));
            let copied = copy_into(&mut source, &to, services, clock, progress).await;
            source.close().await;
            let copied = copied?;
            let sealed = seal(&partial.path, Engine::Postgres, clock, progress).await?;
            if sealed.tables != copied.tables {
                return Err(damaged("it changed while it was written"));
            }
            sealed
        }
    };
    refuse_existing(file)?;
    partial.keep_as(file).await?;
    Ok(report)
}

/// Checks a backup against its own manifest and copies it into an empty store.
pub async fn restore(
    file: &Path,
    to: &Config,
    services: &[Migrations],
    clock: &Clock,
    progress: Watch<'_>,
) -> Result<TransferReport> {
    to.engine()?;
    if !file.is_file() {
        return Err(Error::not_found(
            "store.backup_missing",
            format!("there is no backup at {}: check the path", file.display()),
        ));
    }
    let mut source = Side::read_file(file).await.map_err(unreadable)?;
    let restored = async {
        let manifest = read_manifest(&mut source).await?;
        let found = check(&mut source, progress).await.map_err(unreadable)?;
        compare(&manifest, &found)?;
        copy_into(&mut source, to, services, clock, progress).await
    };
    let restored = restored.await;
    source.close().await;
    let report = restored?;
    migrate::migrate(to, services, clock).await?;
    Ok(report)
}

/// Copies the pages of a SQLite store as of one moment; writers go on meanwhile.
async fn copy_file(from: &Config, path: &Path) -> Result<()> {
    let mut source = Side::read_store(from).await?;
    let copied = async {
        if plan::steps(&mut source).await?.is_empty() {
            return Err(not_portico());
        }
        // VACUUM takes a snapshot of its own and refuses to work inside another.
        let path = text(path)?.replace('\'', "''");
        let copy = format!("COMMIT; PRAGMA query_only = OFF; VACUUM INTO '{path}'");
        source.run(&copy).await
    };
    let copied = copied.await;
    source.close().await;
    copied
}

/// Makes the file whole in itself, reads it once from end to end, and writes what was found into it.
async fn seal(path: &Path, engine: Engine, clock: &Clock, progress: Watch<'_>) -> Result<TransferReport> {
    let mut side = Side::edit_file(path).await?;
    let sealed = async {
        side.run("DROP TABLE IF EXISTS backup_manifest").await?;
        let pages = side.value("PRAGMA quick_check(1)").await?;
        if pages.text() != "ok" {
            return Err(Error::conflict(
                "store.database_damaged",
                "the database fails its own check, so no backup was written: keep a copy of its \
                 file, then restore the last good backup",
            )
            .context(pages.text()));
        }
        let found = check(&mut side, progress).await?;
        let tables = serde_json::to_string(&found.tables)
            .map_err(|error| Error::internal("a manifest is plain data").source_error(error))?;
        let engine = match engine {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgres",
        };
        let (created_at, version) = (clock.now().0, env!("CARGO_PKG_VERSION"));
        let last = found.last_position;
        // Table names come from the catalog, so a quote in the text is not impossible.
        let tables = tables.replace('\'', "''");
        side.run(&format!(
            "CREATE TABLE backup_manifest (id INTEGER PRIMARY KEY CHECK (id = 1), \
             created_at BIGINT NOT NULL, engine TEXT NOT NULL, version TEXT NOT NULL, \
             last_position BIGINT NOT NULL, tables TEXT NOT NULL); \
             INSERT INTO backup_manifest (id, created_at, engine, version, last_position, tables) \
             VALUES (1, {created_at}, '{engine}', '{version}', {last}, '{tables}')"
        ))
        .await?;
        Ok(found)
    };
    let sealed = sealed.await;
    side.close().await;
    let found = sealed?;
    Ok(TransferReport { from: engine, to: Engine::Sqlite, tables: found.tables, last_position: found.last_position })
}

/// What a file holds, or what its manifest says that it holds.
struct Contents {
    tables: Vec<TableReport>,
    last_position: i64,
}

async fn check(side: &mut Side, progress: Watch<'_>) -> Result<Contents> {
    let layouts: Tables = plan::describe(side).await?;
    let mut tables = Vec::with_capacity(layouts.len());
    for (table, layout) in &layouts {
        tables.push(copy::check_table(side, table, &layout.names(), progress).await?);
    }
    let last_position = side.value(queries::last_position(side.engine())).await?.integer();
    Ok(Contents { tables, last_position })
}

async fn read_manifest(side: &mut Side) -> Result<Contents> {
    let catalog = side.rows(queries::columns(Engine::Sqlite)).await.map_err(unreadable)?;
    if !catalog.iter().any(|row| row[0].text() == "backup_manifest") {
        return Err(Error::invalid(
            "store.backup_invalid",
            "this file is not a Portico backup: name a file that `portico backup` wrote",
        ));
    }
    let rows = side.rows("SELECT last_position, tables FROM backup_manifest").await;
    let rows = rows.map_err(unreadable)?;
    let [row] = rows.as_slice() else {
        return Err(damaged("its manifest is not one row"));
    };
    let tables = serde_json::from_str(row[1].text())
        .map_err(|error| damaged("its manifest cannot be read").source_error(error))?;
    Ok(Contents { tables, last_position: row[0].integer() })
}

fn compare(manifest: &Contents, found: &Contents) -> Result<()> {
    let wrong = |left: &[TableReport], right: &[TableReport]| {
        let names = left.iter().filter(|table| !right.contains(table));
        names.map(|table| table.table.clone()).collect::<Vec<_>>()
    };
    let mut tables = wrong(&manifest.tables, &found.tables);
    tables.extend(wrong(&found.tables, &manifest.tables));
    tables.sort();
    tables.dedup();
    if !tables.is_empty() {
        let names = plan::list(tables.iter().map(String::as_str));
        return Err(damaged(&format!("what it holds in {names} is not what was backed up")));
    }
    if manifest.last_position != found.last_position {
        return Err(damaged("its last event position is not what was backed up"));
    }
    Ok(())
}

fn damaged(why: &str) -> Error {
    Error::conflict(
        "store.backup_damaged",
        format!("this backup cannot be trusted and nothing was restored: {why}. Use another backup"),
    )
}

/// An error in reading a backup means that the backup is at fault, not the server.
fn unreadable(error: Error) -> Error {
    damaged("the file cannot be read as a database").source_error(error)
}
