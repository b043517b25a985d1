//! `portico backup`, `restore` and `transfer`: what they print while they work and afterwards. Not
//! for the copying itself, which is `store`'s.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use kernel::{Clock, Result};
use store::{Phase, Progress};

use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::services;

/// Returns what shows progress: one line that is written over, on a terminal only.
fn meter() -> impl FnMut(Progress) + Send {
    let terminal = std::io::stderr().is_terminal();
    move |progress| {
        if terminal {
            let doing = match progress.phase {
                Phase::Copying => "copying",
                Phase::Checking => "checking",
            };
            eprint!("\r\x1b[K{doing} {} {} rows", progress.table, progress.rows);
            let _ = std::io::stderr().flush();
        }
    }
}

fn done() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// Writes everything to one file.
pub(crate) async fn backup(config: &Config, file: &Path) -> Result<()> {
    let migrations = services::migrations(&services::described());
    let report = store::backup(&config.store, file, &migrations, &Clock::system(), &mut meter()).await;
    done();
    println!("{}\n\nbackup written to {}", report?, file.display());
    Ok(())
}

/// Fills an empty database from a backup; no server may use it meanwhile.
pub(crate) async fn restore(config: &Config, file: &Path) -> Result<()> {
    let folder = DataFolder::open(&config.data_dir)?;
    let _lock = folder.lock()?;
    let migrations = services::migrations(&services::described());
    let report = store::restore(file, &config.store, &migrations, &Clock::system(), &mut meter()).await;
    done();
    println!("{}\n\nrestored from {}", report?, file.display());
    Ok(())
}

/// Copies everything from one database to another.
pub(crate) async fn transfer(config: &Config, from: &str, to: &str) -> Result<()> {
    let at = |url: &str| store::Config { url: url.to_owned(), owner_url: String::new(), ..config.store.clone() };
    let migrations = services::migrations(&services::described());
    let report = store::transfer(&at(from), &at(to), &migrations, &Clock::system(), &mut meter()).await;
    done();
    println!("{}\n\ncounts and checksums are equal on both sides", report?);
    Ok(())
}
