//! A fresh database for one test, gone afterwards. Not for sharing between tests.

use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use store::{Config, Engine};
use tempfile::TempDir;

/// A database of one test.
pub struct Database {
    /// How the store opens it.
    pub config: Config,
    folder: Option<TempDir>,
    name: Option<(String, String)>,
}

/// Returns the PostgreSQL server that tests may use, saying so when there is none.
#[expect(clippy::disallowed_methods, reason = "tests are told of their server by the environment")]
pub fn postgres_url() -> Option<String> {
    let url = std::env::var("PORTICO_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("skipped: PORTICO_TEST_POSTGRES_URL is not set");
    }
    url
}

/// Returns the engines that can be tried here.
pub fn engines() -> Vec<Engine> {
    let mut engines = vec![Engine::Sqlite];
    engines.extend(postgres_url().map(|_| Engine::Postgres));
    engines
}

impl Database {
    /// Returns an empty database of this engine.
    pub async fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = TempDir::new().expect("a temporary folder");
                let config = Config::at(format!("sqlite:{}", folder.path().join("test.db").display()));
                Self { config, folder: Some(folder), name: None }
            }
            Engine::Postgres => {
                let server = postgres_url().expect("only asked for where there is a server");
                let name = format!("portico_{}", kernel::TenantId::new().uuid().simple());
                run(&server, &format!("CREATE DATABASE {name}")).await;
                let (before, _) = server.rsplit_once('/').expect("a URL with a database");
                let config = Config::at(format!("{before}/{name}"));
                Self { config, folder: None, name: Some((server, name)) }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "makes and drops databases beside the store")]
pub(crate) async fn connect(url: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url.to_owned());
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await.expect("the test database answers")
}

pub(crate) async fn run(url: &str, sql: &str) {
    let connection = connect(url).await;
    connection.execute_unprepared(sql).await.expect("the test database obeys");
    let _ = connection.close().await;
}

impl Drop for Database {
    fn drop(&mut self) {
        let (_folder, Some((server, name))) = (self.folder.take(), self.name.take()) else { return };
        // A runtime of its own: the test's may be the one that is being dropped.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(run(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
        });
        let _ = dropped.join();
    }
}
