//! What to copy: the tables of both ends, read from their catalogs and compared, in the order in
//! which references allow filling them. Refuses what it does not understand instead of leaving it
//! out. Not for rows.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{Error, Result};

use super::queries::{self, EVENT_LOG, NOT_DATA};
use super::side::Side;
use crate::engine::Engine;
use crate::schema::Type;

/// The tables of one end by name.
pub(crate) type Tables = BTreeMap<String, Layout>;

/// The columns of a table that are read and counted in its checksum, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    columns: BTreeMap<String, Column>,
}

#[derive(Clone, Debug)]
struct Column {
    holds: Type,
    computed: bool,
}

/// A column of the target, and where its value stands in a row that was read.
#[derive(Debug)]
pub(crate) struct Target {
    pub name: String,
    pub holds: Type,
    pub from: usize,
}

/// How one table is copied.
pub(crate) struct TablePlan {
    pub name: String,
    pub columns: Vec<String>,
    pub targets: Vec<Target>,
}

/// How everything is copied.
pub(crate) struct Plan {
    pub tables: Vec<TablePlan>,
    /// References that only hold at the end, such as those from a table to itself.
    pub deferred: Vec<String>,
}

impl Layout {
    /// Returns the names of the columns that are read, in their order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.keys().cloned().collect()
    }
}

/// Returns the migration steps that a database has; none means that it is not Portico's.
pub(crate) async fn steps(side: &mut Side) -> Result<BTreeSet<String>> {
    let tables = side.rows(queries::columns(side.engine())).await?;
    if !tables.iter().any(|row| row[0].text() == "schema_step") {
        return Ok(BTreeSet::new());
    }
    let rows = side.rows("SELECT name FROM schema_step").await?;
    Ok(rows.iter().map(|row| row[0].text().to_owned()).collect())
}

/// Reads the tables that hold data.
pub(crate) async fn describe(side: &mut Side) -> Result<Tables> {
    let engine = side.engine();
    let mut tables = Tables::new();
    for row in side.rows(queries::columns(engine)).await? {
        let (table, column, stored) = (row[0].text(), row[1].text(), row[2].text());
        let (computed, counts) = (row[3].integer() != 0, row[4].integer() != 0);
        if NOT_DATA.contains(&table) {
            continue;
        }
        let layout = tables.entry(table.to_owned()).or_default();
        if table == EVENT_LOG && column == "seq" {
            continue;
        }
        if counts {
            return Err(unknown(format!("{table}.{column} counts by itself: use a UUID instead")));
        }
        let holds = match (engine, stored) {
            (Engine::Sqlite, "BLOB") | (Engine::Postgres, "bytea") => Type::Bytes,
            (Engine::Sqlite, "TEXT") | (Engine::Postgres, "text") => Type::Text,
            (Engine::Sqlite, "BIGINT" | "INTEGER") | (Engine::Postgres, "int8") => Type::Integer,
            (Engine::Sqlite, "BOOLEAN") | (Engine::Postgres, "bool") => Type::Boolean,
            (Engine::Postgres, "uuid") => Type::Uuid,
            _ => return Err(unknown(format!("{table}.{column} has the type {stored}"))),
        };
        layout.columns.insert(column.to_owned(), Column { holds, computed });
    }
    if engine == Engine::Postgres {
        let closed = side.rows(queries::closed_tables()).await?;
        if !closed.is_empty() {
            return Err(Error::conflict(
                "store.transfer_table_closed",
                format!(
                    "row-level security hides {} from a transfer: make it with tenant_table, or \
                     open it to Purpose::Transfer",
                    list(closed.iter().map(|row| row[0].text()))
                ),
            ));
        }
    }
    Ok(tables)
}

fn unknown(what: String) -> Error {
    let message = format!("transfer does not know how to carry this column: {what}");
    Error::conflict("store.transfer_type_unknown", message)
}

/// Writes names as a sentence can hold them.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Compares both ends and puts the tables into an order that their references allow.
pub(crate) async fn plan(source: &mut Side, target: &mut Side) -> Result<Plan> {
    let (from, to) = (describe(source).await?, describe(target).await?);
    let only_one_has: Vec<&str> = from
        .keys()
        .filter(|name| !to.contains_key(*name))
        .chain(to.keys().filter(|name| !from.contains_key(*name)))
        .map(String::as_str)
        .collect();
    if !only_one_has.is_empty() {
        return Err(differs(format!("only one side has {}", list(only_one_has.into_iter()))));
    }
    let references = target.rows(queries::references(target.engine())).await?;
    let edges: Vec<(&str, &str)> = references.iter().map(|row| (row[0].text(), row[1].text())).collect();
    let order = order(to.keys().map(String::as_str).collect(), &edges);
    let mut deferred = Vec::new();
    for row in &references {
        let (child, parent, constraint) = (row[0].text(), row[1].text(), row[2].text());
        let place = |name| order.iter().position(|table| *table == name);
        if place(parent) < place(child) {
            continue;
        }
        if row[3].integer() == 0 {
            return Err(Error::conflict(
                "store.transfer_reference_not_deferrable",
                format!(
                    "the reference {constraint} from {child} to {parent} holds only when both are \
                     filled: declare it DEFERRABLE, as Table::references does"
                ),
            ));
        }
        deferred.push(constraint.to_owned());
    }
    let tables = order
        .into_iter()
        .map(|name| plan_table(name, (source.engine(), &from[name]), (target.engine(), &to[name])))
        .collect::<Result<_>>()?;
    Ok(Plan { tables, deferred })
}

fn differs(how: String) -> Error {
    Error::conflict(
        "store.transfer_schema_differs",
        format!("the two databases do not have the same tables, so nothing was copied: {how}"),
    )
}

/// Sorts so that what is referred to comes first; what is left of a circle keeps its order by name.
fn order<'a>(mut waiting: BTreeSet<&'a str>, edges: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let blocked = |name: &str| {
            let needs = |&(child, parent): &(&str, &str)| child == name && parent != name && waiting.contains(parent);
            edges.iter().any(needs)
        };
        let ready: Vec<&str> = waiting.iter().copied().filter(|name| !blocked(name)).collect();
        let next = if ready.is_empty() { waiting.first().copied().into_iter().collect() } else { ready };
        for name in next {
            waiting.remove(name);
            order.push(name);
        }
    }
    order
}

fn plan_table(name: &str, (source, from): (Engine, &Layout), (target, to): (Engine, &Layout)) -> Result<TablePlan> {
    let columns = from.names();
    if columns != to.names() {
        return Err(differs(format!("{name} has other columns on the other side")));
    }
    let mut targets = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let (read, written) = (&from.columns[column], &to.columns[column]);
        // SQLite says BLOB for a UUID too.
        let same = match (read.holds, written.holds) {
            (Type::Uuid, Type::Bytes) => target == Engine::Sqlite,
            (Type::Bytes, Type::Uuid) => source == Engine::Sqlite,
            (read, written) => read == written,
        };
        if !same {
            return Err(differs(format!("{name}.{column} has another type on the other side")));
        }
        if !written.computed {
            targets.push(Target { name: column.clone(), holds: written.holds, from: index });
        }
        // The copy's log is in the order of positions, which on SQLite is what `seq` means.
        if name == EVENT_LOG && column == "position" {
            targets.push(Target { name: "seq".to_owned(), holds: Type::Integer, from: index });
        }
    }
    Ok(TablePlan { name: name.to_owned(), columns, targets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_those_they_refer_to_and_circles_end() {
        let names = BTreeSet::from(["a", "b", "c", "tenant", "x", "y"]);
        let edges = [("a", "c"), ("c", "b"), ("b", "tenant"), ("b", "b"), ("x", "y"), ("y", "x"), ("x", "a")];
        let order = order(names, &edges);
        let place = |name| order.iter().position(|table| *table == name).expect("in the order");
        assert_eq!(order.len(), 6);
        assert!(place("tenant") < place("b") && place("b") < place("c") && place("c") < place("a"));
    }
}
