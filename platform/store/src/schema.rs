//! Tables, said once for both engines. `tenant_table` brings the tenant column, composite keys,
//! the audit columns and, on PostgreSQL, forced row-level security and the grants, so a new table
//! cannot forget a wall. Not for queries.

use std::fmt::Write as _;

use crate::engine::Engine;
use crate::system::Purpose;

/// Collects the statements of one migration step for one engine.
#[derive(Debug)]
pub struct Schema {
    engine: Engine,
    statements: Vec<String>,
}

/// Collects the columns and rules of one table.
#[derive(Debug)]
pub struct Table {
    engine: Engine,
    name: &'static str,
    columns: Vec<String>,
    rules: Vec<String>,
    indexes: Vec<String>,
    tenant: bool,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A UUID.
    Uuid,
    /// Text; JSON too, so that it crosses engines byte for byte.
    Text,
    /// A whole number of 64 bits: counts, amounts, microseconds of UTC.
    Integer,
    /// True or false.
    Boolean,
    /// Bytes.
    Bytes,
}

impl Type {
    fn sql(self, engine: Engine) -> &'static str {
        match (self, engine) {
            (Self::Uuid, Engine::Sqlite) | (Self::Bytes, Engine::Sqlite) => "BLOB",
            (Self::Uuid, Engine::Postgres) => "uuid",
            (Self::Bytes, Engine::Postgres) => "bytea",
            // One order of text on both engines, whatever the server's locale.
            (Self::Text, Engine::Postgres) => "TEXT COLLATE \"C\"",
            (Self::Text, Engine::Sqlite) => "TEXT",
            (Self::Integer, _) => "BIGINT",
            (Self::Boolean, _) => "BOOLEAN",
        }
    }
}

impl Schema {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, statements: Vec::new() }
    }

    /// Returns the engine that the statements are for.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Adds a statement of one engine; prefer the typed calls.
    pub fn sql(&mut self, engine: Engine, statement: impl Into<String>) {
        if engine == self.engine {
            self.statements.push(statement.into());
        }
    }

    /// Adds a statement that both engines read alike.
    pub fn both(&mut self, statement: impl Into<String>) {
        self.statements.push(statement.into());
    }

    /// Adds a table of rows that change: id, tenant, version, audit columns, soft delete.
    pub fn tenant_table(&mut self, name: &'static str, columns: impl FnOnce(&mut Table)) {
        self.tenant_rows(name, "SELECT, INSERT, UPDATE", |table| {
            columns(table);
            table.column("version", Type::Integer);
            table.column("updated_at", Type::Integer);
            table.column("updated_by", Type::Text);
            table.nullable("deleted_at", Type::Integer);
        });
    }

    /// Adds a table of rows that are only ever added; PostgreSQL grants no more than that.
    pub fn tenant_ledger(&mut self, name: &'static str, columns: impl FnOnce(&mut Table)) {
        self.tenant_rows(name, "SELECT, INSERT", columns);
    }

    /// Adds a table of rows that the product keeps about its own work, such as tasks and cursors:
    /// they change and go without version, soft delete or events.
    pub fn tenant_bookkeeping(&mut self, name: &'static str, columns: impl FnOnce(&mut Table)) {
        self.tenant_rows(name, "SELECT, INSERT, UPDATE, DELETE", columns);
    }

    fn tenant_rows(&mut self, name: &'static str, grants: &str, columns: impl FnOnce(&mut Table)) {
        let mut table = Table::new(self.engine, name, true);
        table.column("tenant_id", Type::Uuid);
        table.column("id", Type::Uuid);
        columns(&mut table);
        table.column("created_at", Type::Integer);
        table.column("created_by", Type::Text);
        table.rules.push("PRIMARY KEY (tenant_id, id)".to_owned());
        table.rules.push("FOREIGN KEY (tenant_id) REFERENCES tenant (id)".to_owned());
        self.finish(table);
        self.tenant_wall(name, "tenant_id", grants);
    }

    /// Adds a table without a tenant; only the named purposes may use it.
    pub fn system_table(&mut self, name: &'static str, purposes: &[(Purpose, &str)], columns: impl FnOnce(&mut Table)) {
        let mut table = Table::new(self.engine, name, false);
        columns(&mut table);
        self.finish(table);
        for (purpose, grants) in purposes {
            self.grant(name, *purpose, grants);
        }
        self.grant(name, Purpose::Transfer, "SELECT, INSERT");
    }

    fn finish(&mut self, table: Table) {
        let mut sql = String::new();
        // SQLite reads no column after the first rule.
        let lines = [table.columns, table.rules].concat();
        let _ = write!(sql, "CREATE TABLE {} (\n  {}\n)", table.name, lines.join(",\n  "));
        self.statements.push(sql);
        self.statements.extend(table.indexes);
    }

    /// Puts the second wall around a table: forced row-level security under the application role.
    pub(crate) fn tenant_wall(&mut self, name: &str, tenant: &str, grants: &str) {
        let tenant_is_mine = format!("{tenant} = NULLIF(current_setting('app.tenant', true), '')::uuid");
        self.sql(Engine::Postgres, format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"));
        self.sql(Engine::Postgres, format!("ALTER TABLE {name} FORCE ROW LEVEL SECURITY"));
        self.sql(
            Engine::Postgres,
            format!(
                "CREATE POLICY tenant_rows ON {name} TO {APPLICATION_ROLE} USING ({tenant_is_mine}) WITH CHECK ({tenant_is_mine})"
            ),
        );
        self.sql(Engine::Postgres, format!("GRANT {grants} ON {name} TO {APPLICATION_ROLE}"));
        self.grant(name, Purpose::Transfer, "SELECT, INSERT");
        self.pass(name, Purpose::Transfer);
    }

    /// Lets a system purpose use a tenant table across tenants; each use is logged.
    pub fn open_to(&mut self, name: &str, purpose: Purpose, grants: &str) {
        self.grant(name, purpose, grants);
        self.pass(name, purpose);
    }

    /// Adds a column to a table that is there; it may be empty unless rows get `default`, an SQL
    /// literal.
    pub fn add_column(&mut self, table: &str, name: &str, holds: Type, default: Option<&str>) {
        let filled = default.map_or(String::new(), |value| format!(" NOT NULL DEFAULT {value}"));
        self.both(format!("ALTER TABLE {table} ADD COLUMN {name} {}{filled}", holds.sql(self.engine)));
    }

    /// Lets a system purpose use a table without a tenant, beyond what it was made with.
    pub fn grant(&mut self, name: &str, purpose: Purpose, grants: &str) {
        self.sql(Engine::Postgres, format!("GRANT {grants} ON {name} TO {}", purpose.role()));
    }

    fn pass(&mut self, name: &str, purpose: Purpose) {
        let role = purpose.role();
        self.sql(Engine::Postgres, format!("CREATE POLICY {role} ON {name} TO {role} USING (true) WITH CHECK (true)"));
    }

    pub(crate) fn into_statements(self) -> Vec<String> {
        self.statements
    }
}

/// The PostgreSQL role that every tenant transaction runs under. It owns nothing.
pub(crate) const APPLICATION_ROLE: &str = "portico_app";

impl Table {
    fn new(engine: Engine, name: &'static str, tenant: bool) -> Self {
        Self { engine, name, columns: Vec::new(), rules: Vec::new(), indexes: Vec::new(), tenant }
    }

    /// Adds a column that always has a value.
    pub fn column(&mut self, name: &str, holds: Type) {
        self.columns.push(format!("{name} {} NOT NULL", holds.sql(self.engine)));
    }

    /// Adds a column that may be empty.
    pub fn nullable(&mut self, name: &str, holds: Type) {
        self.columns.push(format!("{name} {}", holds.sql(self.engine)));
    }

    /// Adds a table rule, such as `PRIMARY KEY (…)` of a table without a tenant.
    pub fn rule(&mut self, rule: &str) {
        self.rules.push(rule.to_owned());
    }

    /// Adds a named condition that every row keeps.
    pub fn check(&mut self, name: &str, condition: &str) {
        self.rules.push(format!("CONSTRAINT {name} CHECK ({condition})"));
    }

    /// Adds a reference to a row of the same tenant.
    pub fn references(&mut self, column: &str, table: &str) {
        // Rows of one table may come in any order when they are copied; a transfer waits with this.
        let waits = if table == self.name { " DEFERRABLE INITIALLY IMMEDIATE" } else { "" };
        self.rules.push(format!("FOREIGN KEY (tenant_id, {column}) REFERENCES {table} (tenant_id, id){waits}"));
    }

    /// Adds an index; in a tenant table it starts with the tenant.
    pub fn index(&mut self, name: &str, columns: &[&str]) {
        self.add_index("INDEX", name, columns, "");
    }

    /// Makes the columns unique among the tenant's rows that are not deleted.
    pub fn unique_live(&mut self, name: &str, columns: &[&str]) {
        self.add_index("UNIQUE INDEX", name, columns, " WHERE deleted_at IS NULL");
    }

    /// Makes the columns unique, in a tenant table among all of the tenant's rows.
    pub fn unique(&mut self, name: &str, columns: &[&str]) {
        self.add_index("UNIQUE INDEX", name, columns, "");
    }

    /// Adds an index that does not start with the tenant, over the rows that meet a condition: for work
    /// across tenants.
    pub fn index_across(&mut self, name: &str, columns: &[&str], condition: &str) {
        let (table, columns) = (self.name, columns.join(", "));
        self.indexes.push(format!("CREATE INDEX {name} ON {table} ({columns}) WHERE {condition}"));
    }

    /// Makes the columns unique among the tenant's rows that meet a condition.
    pub fn unique_where(&mut self, name: &str, columns: &[&str], condition: &str) {
        self.add_index("UNIQUE INDEX", name, columns, &format!(" WHERE {condition}"));
    }

    fn add_index(&mut self, what: &str, name: &str, columns: &[&str], condition: &str) {
        let tenant = if self.tenant { "tenant_id, " } else { "" };
        let (table, columns) = (self.name, columns.join(", "));
        self.indexes.push(format!("CREATE {what} {name} ON {table} ({tenant}{columns}){condition}"));
    }
}
