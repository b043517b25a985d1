//! A fresh database for one test, of either engine, that goes away with it. Not for data.

use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _};
use store::Config;
use tempfile::TempDir;

/// A database that nothing else uses; dropping it removes it.
pub struct Database {
    pub config: Config,
    _folder: TempDir,
    on_server: Option<(String, String)>,
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration to read it")]
fn server() -> Option<String> {
    std::env::var("PORTICO_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

/// Returns a fresh database of each engine there is.
pub async fn each() -> Vec<Database> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config::at(format!("sqlite:{}", folder.path().join("portico.db").display()));
    let mut each = vec![Database { config, _folder: folder, on_server: None }];
    let Some(server) = server() else {
        println!("skipped: PORTICO_TEST_POSTGRES_URL is not set");
        return each;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = format!("portico_{}", kernel::TenantId::new().uuid().simple());
    run(&server, &format!("CREATE DATABASE {name}")).await;
    let (before, _) = server.rsplit_once('/').expect("a URL with a database");
    let config = Config::at(format!("{before}/{name}"));
    each.push(Database { config, _folder: folder, on_server: Some((server, name)) });
    each
}

async fn run(url: &str, sql: &str) {
    let mut connection = sqlx::PgConnection::connect(url).await.expect("connects");
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.map(|_| ());
    connection.close().await.expect("closes");
    done.expect("the statement runs");
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some((server, name)) = self.on_server.take() else { return };
        // A thread of its own: a test that failed drops this inside its runtime.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            runtime.expect("a runtime").block_on(run(&server, &drop));
        });
        if dropped.join().is_err() {
            eprintln!("a test database was left behind");
        }
    }
}
