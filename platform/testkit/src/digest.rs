//! Everything that one tenant has, as text, read past the store: equal before and after means that
//! nothing changed. Not for checking what the rows say.

use kernel::TenantId;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};

use crate::database::Database;

async fn texts(connection: &DatabaseConnection, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await.expect("a digest query");
    rows.iter().map(|row| row.try_get_by_index(0).expect("text")).collect()
}

/// Returns every row of a table that meets a condition.
async fn rows_of(connection: &DatabaseConnection, table: &str, condition: &str) -> Vec<String> {
    let sql = if connection.get_database_backend() == DbBackend::Sqlite {
        let columns = texts(connection, &format!("SELECT name FROM pragma_table_info('{table}')")).await;
        let quoted: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
        format!("SELECT {} AS row FROM {table} WHERE {condition} ORDER BY row", quoted.join(" || '|' || "))
    } else {
        // What the relay fills in later is not a change.
        format!("SELECT (to_jsonb(t) - 'position')::text AS row FROM {table} t WHERE {condition} ORDER BY row")
    };
    texts(connection, &sql).await.into_iter().map(|row| format!("{table}: {row}")).collect()
}

/// Returns every row of the database, table by table.
pub(crate) async fn dump(database: &Database) -> Vec<String> {
    let connection = crate::database::connect(&database.config.url).await;
    let tables = match connection.get_database_backend() {
        DbBackend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1",
        _ => "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1",
    };
    let mut found = Vec::new();
    for table in texts(&connection, tables).await {
        found.extend(rows_of(&connection, &table, "true").await);
    }
    let _ = connection.close().await;
    found
}

/// Returns every row of the tenant, table by table.
pub(crate) async fn digest(database: &Database, tenant: TenantId) -> Vec<String> {
    let connection = crate::database::connect(&database.config.url).await;
    let sqlite = connection.get_database_backend() == DbBackend::Sqlite;
    let tables = if sqlite {
        "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'tenant_id' ORDER BY 1"
    } else {
        "SELECT table_name::text FROM information_schema.columns WHERE table_schema = current_schema() \
         AND column_name = 'tenant_id' ORDER BY 1"
    };
    let mut found = Vec::new();
    let mut keys: Vec<(String, &str)> =
        texts(&connection, tables).await.into_iter().map(|table| (table, "tenant_id")).collect();
    keys.push(("tenant".to_owned(), "id"));
    for (table, key) in keys {
        let id = if sqlite { format!("x'{}'", tenant.uuid().simple()) } else { format!("'{}'", tenant.uuid()) };
        found.extend(rows_of(&connection, &table, &format!("{key} = {id}")).await);
    }
    let _ = connection.close().await;
    found
}
