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
        let sql = if sqlite {
            let columns = texts(&connection, &format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let quoted: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
            let id = tenant.uuid().simple();
            format!("SELECT {} AS row FROM {table} WHERE {key} = x'{id}' ORDER BY row", quoted.join(" || '|' || "))
        } else {
            // What the relay fills in later is not a change.
            format!(
                "SELECT (to_jsonb(t) - 'position')::text AS row FROM {table} t WHERE {key} = '{}' ORDER BY row",
                tenant.uuid()
            )
        };
        let rows = texts(&connection, &sql).await;
        found.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
    }
    let _ = connection.close().await;
    found
}
