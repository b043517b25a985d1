//! The SQL of each engine's own dialect that a transfer needs: catalogs, positions, reading and
//! filling tables. Not for anything that runs it.

use crate::engine::Engine;
use crate::system::Purpose;

/// The tables that are not data: the record of migrations, the counter of positions, which is set
/// instead of copied, and the manifest that a backup carries.
pub(crate) const NOT_DATA: [&str; 3] = ["schema_step", "event_position", "backup_manifest"];

/// The one table whose rows are not copied column by column.
pub(crate) const EVENT_LOG: &str = "event_log";

const POSTGRES_TABLE: &str = "c.relnamespace = current_schema()::regnamespace \
     AND c.relkind IN ('r', 'p') AND NOT c.relispartition";

/// Gives the statement that begins reading one snapshot.
pub(crate) fn begin_reading(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "BEGIN DEFERRED",
        Engine::Postgres => {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; \
             SET LOCAL idle_in_transaction_session_timeout = 0"
        }
    }
}

/// Gives the statement that begins filling, alone. On PostgreSQL the default isolation stays: rows
/// that somebody else commits meanwhile must show in the checksum, not hide behind a snapshot.
pub(crate) fn begin_filling(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "BEGIN IMMEDIATE",
        Engine::Postgres => {
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; \
             SET LOCAL idle_in_transaction_session_timeout = 0; \
             SELECT pg_advisory_xact_lock(7237422)"
        }
    }
}

/// Gives the statement that leaves every other right behind.
pub(crate) fn take_role() -> String {
    format!("SET LOCAL ROLE {}", Purpose::Transfer.role())
}

/// Gives the statement that puts off these references until the commit.
pub(crate) fn defer(engine: Engine, constraints: &[String]) -> String {
    match engine {
        Engine::Sqlite => "PRAGMA defer_foreign_keys = ON".to_owned(),
        Engine::Postgres => {
            let names: Vec<String> = constraints.iter().map(|name| quote(name)).collect();
            format!("SET CONSTRAINTS {} DEFERRED", names.join(", "))
        }
    }
}

/// Lists the columns: table, column, type, whether it is computed, whether it counts by itself.
pub(crate) fn columns(engine: Engine) -> String {
    match engine {
        Engine::Sqlite => "SELECT m.name, c.name, upper(c.type), c.hidden IN (2, 3), 0 \
             FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND c.hidden <> 1"
            .to_owned(),
        Engine::Postgres => format!(
            "SELECT c.relname::text, a.attname::text, t.typname::text, \
             a.attgenerated <> '', \
             a.attidentity <> '' OR COALESCE(pg_get_expr(d.adbin, d.adrelid), '') \
             LIKE 'nextval(%' \
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t \
             ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
             WHERE {POSTGRES_TABLE} AND a.attnum > 0 AND NOT a.attisdropped"
        ),
    }
}

/// Lists the references: table, table referred to, constraint, whether it can wait for the commit.
pub(crate) fn references(engine: Engine) -> String {
    match engine {
        Engine::Sqlite => "SELECT DISTINCT m.name, f.\"table\", '', 1 \
             FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'"
            .to_owned(),
        Engine::Postgres => format!(
            "SELECT c.relname::text, r.relname::text, k.conname::text, k.condeferrable \
             FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
             JOIN pg_class r ON r.oid = k.confrelid \
             WHERE k.contype = 'f' AND k.conparentid = 0 AND {POSTGRES_TABLE}"
        ),
    }
}

/// Lists the tables whose rows row-level security would hide from a transfer without a word.
pub(crate) fn closed_tables() -> String {
    format!(
        "SELECT c.relname::text FROM pg_class c WHERE {POSTGRES_TABLE} AND c.relrowsecurity \
         AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid \
         AND '{}'::regrole = ANY (p.polroles))",
        Purpose::Transfer.role()
    )
}

/// Reads the rows; the log in the order of insertion, in which events without a position get one.
pub(crate) fn read_rows(table: &str, columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let order = if table == EVENT_LOG { " ORDER BY seq" } else { "" };
    format!("SELECT {} FROM {}{order}", names.join(", "), quote(table))
}

/// Says whether a table has a row.
pub(crate) fn any_row(table: &str) -> String {
    format!("SELECT CAST(1 AS BIGINT) FROM {} LIMIT 1", quote(table))
}

/// Inserts so many rows at once.
pub(crate) fn insert_rows<'a>(
    engine: Engine,
    table: &str,
    columns: impl Iterator<Item = &'a str>,
    rows: usize,
) -> String {
    let names: Vec<String> = columns.map(quote).collect();
    let mut number = 0;
    let mut tuples = Vec::with_capacity(rows);
    for _ in 0..rows {
        let places: Vec<String> = (0..names.len())
            .map(|_| {
                number += 1;
                if engine == Engine::Sqlite { "?".to_owned() } else { format!("${number}") }
            })
            .collect();
        tuples.push(format!("({})", places.join(", ")));
    }
    format!("INSERT INTO {} ({}) VALUES {}", quote(table), names.join(", "), tuples.join(", "))
}

/// Reads the highest position ever given, also of events that are gone.
pub(crate) fn last_position(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'event_log'",
        Engine::Postgres => "SELECT last FROM event_position WHERE id = 1",
    }
}

/// Lets the next event come after this position.
pub(crate) fn continue_after(engine: Engine, position: i64) -> String {
    match engine {
        Engine::Sqlite => format!(
            "UPDATE sqlite_sequence SET seq = MAX(seq, {position}) WHERE name = 'event_log'; \
             INSERT INTO sqlite_sequence (name, seq) SELECT 'event_log', {position} WHERE \
             NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'event_log')"
        ),
        Engine::Postgres => format!(
            "UPDATE event_position SET last = GREATEST(last, {position}) WHERE id = 1; \
             SELECT setval(pg_get_serial_sequence('event_log', 'seq'), last + 1, false) \
             FROM event_position WHERE id = 1"
        ),
    }
}

/// Writes a name so that it is a name.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
