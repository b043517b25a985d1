//! A fresh database for one test, of either engine, that goes away with it. Not for data.

use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _};
use store::Config;
use tempfile::TempDir;

/// A database that nothing else uses; dropping it removes it.
pub struct Database {
    pub config: Config,
    pub folder: TempDir,
    on_server: Option<(String, String)>,
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration to read it")]
fn server() -> Option<String> {
    std::env::var("PORTICO_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

/// Returns a new SQLite database; its file does not exist yet.
pub fn sqlite() -> Database {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config::at(format!("sqlite:{}", folder.path().join("portico.db").display()));
    Database { config, folder, on_server: None }
}

/// Returns a new, empty PostgreSQL database, or says that the test is skipped.
pub async fn postgres() -> Option<Database> {
    let Some(server) = server() else {
        println!("skipped: PORTICO_TEST_POSTGRES_URL is not set");
        return None;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let random = folder.path().file_name().and_then(|name| name.to_str()).expect("a name");
    let name: String = random.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!("portico_{}", name.to_lowercase());
    run(&server, &format!("CREATE DATABASE {name}")).await;
    let config = Config::at(on(&server, &name));
    Some(Database { config, folder, on_server: Some((server, name)) })
}

/// Returns the URL of another database on the same server.
fn on(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').unwrap_or((server, ""));
    let scheme = address.find("://").map_or(0, |place| place + 3);
    let end = address[scheme..].find('/').map_or(address.len(), |place| scheme + place);
    let question = if options.is_empty() { "" } else { "?" };
    format!("{}/{name}{question}{options}", &address[..end])
}

/// Runs statements past the store, as an operator with psql or sqlite3 would.
pub async fn run(url: &str, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    let done = if let Some(path) = url.strip_prefix("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("opens");
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

impl Database {
    /// Runs statements past the store.
    pub async fn run(&self, sql: &str) {
        run(&self.config.url, sql).await;
    }

    /// Returns the same database, opened by another login.
    pub fn as_login(&self, login: &str) -> Config {
        let url = &self.config.url;
        let start = url.find("://").map_or(0, |place| place + 3);
        let rest = &url[start..];
        let host = rest.find('@').map_or(rest, |place| &rest[place + 1..]);
        Config { url: format!("{}{login}@{host}", &url[..start]), ..self.config.clone() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some((server, name)) = self.on_server.take() else {
            return;
        };
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
