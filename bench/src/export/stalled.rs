//! A client that takes the beginning of an export and then nothing for 20 s, while another one writes:
//! how far SQLite's write-ahead log grows, and how old a snapshot PostgreSQL has to keep. Not for
//! speed.

use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use store::Engine;

use super::download;
use crate::client::{Connection, post_as};
use crate::figures::short;
use crate::people::People;
use crate::server::Server;
use crate::{Outcome, Plan};

const STALLED: Duration = Duration::from_secs(20);

/// What the stalled client did to others.
pub struct Stalled {
    pub written: u64,
    pub held_up: String,
}

/// Measures it.
pub fn measure(plan: &Plan, people: &People, server: &Server, token: &str, item: &str) -> Outcome<Stalled> {
    let (stream, _) = download::begin(server.address(), token, "csv")?;
    // So that the buffers on the way are full and the server waits.
    std::thread::sleep(Duration::from_secs(1));
    let mut writer = Connection::open(server.address())?;
    let adjust = post_as(&format!("{item}/adjust"), r#"{"delta":1,"reason":"received"}"#, token);
    let watcher = match people.config().engine()? {
        Engine::Sqlite => None,
        Engine::Postgres => Some(plan.runtime.block_on(connect(people.url()))?),
    };
    let (began, mut written, mut most) = (Instant::now(), 0, 0.0_f64);
    while began.elapsed() < STALLED {
        writer.timed(&adjust)?;
        written += 1;
        if written % 50 == 0 {
            most = most.max(match &watcher {
                None => people.config().sqlite_path().map_or(0.0, |path| log_mib(&path)),
                Some(connection) => plan.runtime.block_on(snapshot_age(connection))?,
            });
        }
    }
    drop(stream);
    let held_up = match watcher {
        None => format!("the write-ahead log had {} MiB at its most", short(most)),
        Some(_) => format!("the oldest snapshot was {} transactions old at its most", short(most)),
    };
    Ok(Stalled { written, held_up })
}

fn log_mib(database: &std::path::Path) -> f64 {
    let log = format!("{}-wal", database.display());
    std::fs::metadata(log).map_or(0.0, |file| file.len() as f64 / f64::from(1 << 20))
}

async fn connect(url: &str) -> Outcome<DatabaseConnection> {
    let mut options = ConnectOptions::new(url.to_owned());
    options.max_connections(1).sqlx_logging(false);
    Ok(Database::connect(options).await?)
}

async fn snapshot_age(connection: &DatabaseConnection) -> Outcome<f64> {
    let sql = "SELECT COALESCE(MAX(age(backend_xmin)), 0)::bigint FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let age = row.map(|row| row.try_get_by_index::<i64>(0)).transpose()?;
    Ok(age.unwrap_or(0) as f64)
}
