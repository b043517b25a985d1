//! A long ledger, written past the store since it would take an hour through it. Not for measuring.

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DbBackend};

use crate::Outcome;
use crate::client::{Connection, post_as};
use crate::server::Server;

/// How many items the lines are of.
const ITEMS: usize = 50;

/// Makes the items, and gives their paths.
pub fn make_items(server: &Server, token: &str) -> Outcome<Vec<String>> {
    let mut connection = Connection::open(server.address())?;
    (0..ITEMS)
        .map(|number| {
            let body = format!(r#"{{"sku":"E-{number:02}","name":"Exported {number}"}}"#);
            let answer = connection.send(&post_as("/api/inventory", &body, token))?;
            let said: serde_json::Value = serde_json::from_slice(&answer.body)?;
            let id = said["data"]["id"].as_str().ok_or_else(|| format!("no item: {said}"))?;
            Ok(format!("/api/inventory/{id}"))
        })
        .collect()
}

/// Writes the lines; nobody else has the database open.
pub async fn fill(url: &str, lines: u64) -> Outcome {
    let mut options = ConnectOptions::new(url.to_owned());
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await?;
    let sqlite = connection.get_database_backend() == DbBackend::Sqlite;
    // Ids of long ago, in the order of their numbers.
    let (id, numbers) = match sqlite {
        true => (
            "CAST(char(1) || printf('%015d', n) AS BLOB)",
            format!(
                "(WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {lines}) SELECT n FROM many)"
            ),
        ),
        false => (
            "('01300000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
            format!("generate_series(1::bigint, {lines}) AS many (n)"),
        ),
    };
    let columns = "tenant_id, id, item_id, delta, reason, note, occurred_at, amount, reference, created_at, created_by";
    let values = format!(
        "i.tenant_id, {id}, i.id, 1, 'received', 'delivered with the usual carrier', 852076800000000 + n * 1000000, n, \
         'order-' || n, 1763700000000000, 'usr_01h455vb4pex5vsknk084sn02q'"
    );
    let items = "(SELECT tenant_id, id, row_number() OVER (ORDER BY id) AS place FROM inventory_item) AS i";
    let insert = format!(
        "INSERT INTO inventory_movement ({columns}) SELECT {values} FROM {numbers} CROSS JOIN {items} WHERE i.place = n % {ITEMS} + 1"
    );
    connection.execute_unprepared(&insert).await?;
    let settle = if sqlite { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "VACUUM ANALYZE inventory_movement" };
    connection.execute_unprepared(settle).await?;
    connection.close().await?;
    Ok(())
}
