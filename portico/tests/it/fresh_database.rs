//! A PostgreSQL database for one test that goes away with it, and statements that run past the
//! store. Not for SQLite, whose databases are files in the test's own folder.

use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::environment;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A database that nothing else uses; dropping it removes it.
pub struct FreshDatabase {
    server: String,
    name: String,
}

impl FreshDatabase {
    /// Creates a database, or says that the test is skipped.
    pub async fn create() -> Option<Self> {
        let Some(server) = environment("PORTICO_TEST_POSTGRES_URL") else {
            println!("skipped: PORTICO_TEST_POSTGRES_URL is not set");
            return None;
        };
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let name = format!("portico_it_{process}_{number}");
        execute(&server, &format!("DROP DATABASE IF EXISTS {name}")).await;
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        Some(Self { server, name })
    }

    /// Returns the database's URL.
    pub fn url(&self) -> String {
        let (address, options) = match self.server.split_once('?') {
            Some((address, options)) => (address, format!("?{options}")),
            None => (self.server.as_str(), String::new()),
        };
        let host = address.find("://").map_or(0, |place| place + 3);
        let end = address[host..].find('/').map_or(address.len(), |place| host + place);
        format!("{}/{}{options}", &address[..end], self.name)
    }
}

/// Runs statements past the store, as an operator with psql or sqlite3 would.
pub async fn execute(url: &str, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    let done = if let Some(path) = url.strip_prefix("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let opened = sqlx::ConnectOptions::connect(&options).await;
        let mut connection = opened.expect("opens");
        let done = sql.execute(&mut connection).await.map(|_| ());
        connection.close().await.expect("closes");
        done
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.expect("connects");
        let done = sql.execute(&mut connection).await.map(|_| ());
        connection.close().await.expect("closes");
        done
    };
    done.expect("the statements run");
}

impl Drop for FreshDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A thread of its own: a test that failed drops this inside its runtime.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            runtime.expect("a runtime").block_on(execute(&server, &drop));
        });
        if dropped.join().is_err() {
            eprintln!("a test database was left behind");
        }
    }
}
