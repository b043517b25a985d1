//! `portico doctor`: looks at what usually goes wrong and says what to do about it. Changes
//! nothing. Not for a running server's health, which is a route.

use std::process::ExitCode;

use kernel::{Clock, Result};
use store::{Engine, Store};

use crate::config::{self, Config};
use crate::data_folder::DataFolder;
use crate::services;

struct Findings {
    bad: usize,
}

impl Findings {
    fn good(&self, what: &str, found: impl std::fmt::Display) {
        println!("  ok    {what}: {found}");
    }

    fn note(&self, what: &str, found: impl std::fmt::Display) {
        println!("  note  {what}: {found}");
    }

    fn bad(&mut self, what: &str, found: impl std::fmt::Display) {
        self.bad += 1;
        println!("  BAD   {what}: {found}");
    }
}

/// Looks at everything, prints what it found, and fails when something is bad.
pub(crate) async fn run(config: &Config) -> Result<ExitCode> {
    let mut findings = Findings { bad: 0 };
    findings.good("configuration", "valid");
    if config.data_dir.exists() {
        let folder = DataFolder::open(&config.data_dir)?;
        match folder.holder() {
            Some(holder) => findings.good("data folder", format!("in use by process {}", holder.pid)),
            None => findings.good("data folder", format!("{}, no server runs", folder.path().display())),
        }
    } else {
        findings.note("data folder", format!("{} will be made at the first start", config.data_dir.display()));
    }
    database(config, &mut findings).await;
    if config.cluster.secret.is_empty() {
        findings.note("cluster.secret", "not set: fine for one process, needed by the split form");
    }
    println!("\n{} bad", findings.bad);
    Ok(if findings.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn database(config: &Config, findings: &mut Findings) {
    let missing = config.store.sqlite_path().is_some_and(|path| !path.exists());
    if missing {
        findings.note("database", "will be made at the first start");
        return;
    }
    findings.good("database", config::without_password(&config.store.url));
    let opened = Store::open(config.store.clone(), Clock::system()).await;
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            findings.bad("durability and connection", error.message());
            return;
        }
    };
    findings.good("durability and connection", "acknowledged means on disk");
    match store::pending(&config.store, &services::migrations(&services::described())).await {
        Ok(pending) if pending.is_empty() => findings.good("schema", "up to date"),
        Ok(pending) => findings.note("schema", format!("lacks {}: run `portico migrate`", pending.join(", "))),
        Err(error) => findings.bad("schema", error.message()),
    }
    if store.engine() == Engine::Postgres {
        match store.owns_tables().await {
            Ok(true) => findings.note(
                "login",
                "the login of store.url owns the tables: fine to begin with; for a second wall against stolen \
                 credentials give store.url a login that owns nothing and store.owner_url the owner",
            ),
            Ok(false) => findings.good("login", "owns nothing"),
            Err(error) => findings.bad("login", error.message()),
        }
    }
    store.close().await;
}
