//! The databases of the systems, with the same items in each: Portico's own schema for Portico, the
//! same tables for its peers. Not for what is asked of them.

use kernel::TenantId;
use sea_orm::{ConnectOptions, ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use store::Engine;
use testkit::Database;
use uuid::Uuid;

use super::requests::{ITEMS, Requests};
use crate::client::Connection;
use crate::people::People;
use crate::process::Postgres;
use crate::server::Server;
use crate::{Outcome, Plan, say};

const SCHEMA: &str = include_str!("../../peers/inventory/schema.sql");
const SEED: &str = include_str!("../../peers/inventory/seed.sql");
/// Whom the seed lets in.
const PEER_TOKEN: &str = "bench-inventory";
/// What every item has in stock.
const STOCK: i64 = 1_000_000;

/// Where a system finds its data, and who may use it.
#[derive(Clone, Debug)]
pub struct Port {
    pub url: String,
    pub token: String,
    /// The tenant, where a system cannot learn it from the token.
    pub tenant: Option<TenantId>,
}

/// One for each system.
pub struct PortsOfCall {
    pub full: Port,
    pub bare: Port,
    pub sqlite: Port,
    pub fast_api: Port,
    pub express: Port,
}

/// The databases; they go when this does.
pub struct Databases {
    portico: [(People, Port); 3],
    peers: [(Database, Port); 2],
    postgres: Postgres,
}

impl Databases {
    /// Makes and fills them.
    pub fn make(plan: &Plan) -> Outcome<Self> {
        let portico =
            [portico(plan, Engine::Postgres)?, portico(plan, Engine::Postgres)?, portico(plan, Engine::Sqlite)?];
        let postgres = Postgres::find(&portico[0].1.url).ok_or("PostgreSQL does not run on this machine")?;
        Ok(Self { portico, peers: [peer(plan)?, peer(plan)?], postgres })
    }

    pub fn ports(&self) -> PortsOfCall {
        let [full, bare, sqlite] = self.portico.each_ref().map(|(_, port)| port.clone());
        let [fast_api, express] = self.peers.each_ref().map(|(_, port)| port.clone());
        PortsOfCall { full, bare, sqlite, fast_api, express }
    }

    pub fn postgres(&self) -> Postgres {
        self.postgres
    }
}

fn peer(plan: &Plan) -> Outcome<(Database, Port)> {
    let database = plan.runtime.block_on(async {
        let database = Database::new(Engine::Postgres).await;
        let connection = connect(&database.config.url).await?;
        for script in [SCHEMA, SEED] {
            connection.execute_unprepared(script).await?;
        }
        connection.close().await?;
        Outcome::Ok(database)
    })?;
    let port = Port { url: database.config.url.clone(), token: PEER_TOKEN.to_owned(), tenant: None };
    Ok((database, port))
}

/// Makes Portico's database: one item and its opening stock over HTTP, and copies of both beside them,
/// whatever columns they have.
fn portico(plan: &Plan, engine: Engine) -> Outcome<(People, Port)> {
    let people = People::make(plan, engine, 1, 1)?;
    let token = people.tokens[0].clone();
    let server = Server::start(people.url())?;
    let (mut connection, requests) = (Connection::open(server.address())?, Requests::new(&token));
    let body = r#"{"sku":"~","name":"~","description":"~","lowStockLevel":5}"#;
    let made = connection.send(&requests.tell("/api/inventory", body))?;
    let made: serde_json::Value = serde_json::from_slice(&made.body)?;
    let id = made["data"]["id"].as_str().ok_or_else(|| format!("no item was made: {made}"))?;
    let opening = format!(r#"{{"delta":{STOCK},"reason":"opening"}}"#);
    connection.timed(&requests.tell(&format!("/api/inventory/{id}/adjust"), &opening))?;
    drop(server);
    let tenant = plan.runtime.block_on(copy(people.url(), engine))?;
    say(format!("{ITEMS} items in a database of Portico's, {}", crate::people::name(engine)));
    let port = Port { url: people.url().to_owned(), token, tenant: Some(tenant) };
    Ok((people, port))
}

async fn connect(url: &str) -> Outcome<DatabaseConnection> {
    let mut options = ConnectOptions::new(url.to_owned());
    options.max_connections(1).sqlx_logging(false);
    Ok(sea_orm::Database::connect(options).await?)
}

/// Copies the one item and the one line of the ledger, and says whose they are.
async fn copy(url: &str, engine: Engine) -> Outcome<TenantId> {
    let connection = connect(url).await?;
    let id = |group: &str| match engine {
        Engine::Postgres => format!("('01900000-0000-7000-{group}-' || lpad(to_hex(n), 12, '0'))::uuid"),
        Engine::Sqlite => format!("unhex('0190000000007000{group}' || printf('%012x', n))"),
    };
    let five_digits = |number: &str| match engine {
        Engine::Postgres => format!("lpad(({number})::text, 5, '0')"),
        Engine::Sqlite => format!("printf('%05d', {number})"),
    };
    let item = [
        ("id", id("8000")),
        ("sku", "'sku-' || n".to_owned()),
        ("name", format!("'Item number ' || {}", five_digits("n * 7919 % 10007"))),
        ("description", "'A thing on a shelf, number ' || n".to_owned()),
    ];
    let movement = [("id", id("9000")), ("item_id", id("8000"))];
    for (table, own) in [("inventory_item", &item[..]), ("inventory_movement", &movement[..])] {
        let columns = columns(&connection, engine, table).await?;
        let value =
            |column: &String| own.iter().find(|own| own.0 == column).map_or(column.clone(), |own| own.1.clone());
        let values: Vec<String> = columns.iter().map(value).collect();
        let statement = format!(
            "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {ITEMS}) \
             INSERT INTO {table} ({}) SELECT {} FROM {table}, series",
            columns.join(", "),
            values.join(", ")
        );
        connection.execute_unprepared(&statement).await?;
    }
    connection.execute_unprepared("ANALYZE").await?;
    let tenants = texts(
        &connection,
        engine,
        match engine {
            Engine::Postgres => "SELECT tenant_id::text FROM inventory_item LIMIT 1",
            Engine::Sqlite => "SELECT lower(hex(tenant_id)) FROM inventory_item LIMIT 1",
        },
    );
    let tenant = Uuid::try_parse(tenants.await?.first().ok_or("there is no item")?)?;
    connection.close().await?;
    Ok(TenantId::from_uuid(tenant))
}

async fn columns(connection: &DatabaseConnection, engine: Engine, table: &str) -> Outcome<Vec<String>> {
    let of_this_schema = "table_schema = current_schema()";
    let statement = match engine {
        Engine::Postgres => format!(
            "SELECT column_name::text FROM information_schema.columns WHERE {of_this_schema} AND table_name = '{table}'"
        ),
        Engine::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
    };
    texts(connection, engine, &statement).await
}

async fn texts(connection: &DatabaseConnection, engine: Engine, statement: &str) -> Outcome<Vec<String>> {
    let backend = match engine {
        Engine::Postgres => DbBackend::Postgres,
        Engine::Sqlite => DbBackend::Sqlite,
    };
    let rows = connection.query_all_raw(Statement::from_string(backend, statement)).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}
