//! Finds PostgreSQL's server programs on this machine, or fetches them.
//!
//! For: `initdb` and `postgres` that really start under the account they will run under.
//! Not for: clients; the tests bring their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Account;
use super::wheel;
use crate::workspace::{self, Outcome};

/// The oldest major version that Portico supports.
const OLDEST: u32 = 14;

/// A folder with `initdb` and `postgres` in it.
pub struct Binaries {
    pub folder: PathBuf,
    pub version: String,
}

/// Looks on the PATH, then where distributions put them, then in a Python wheel, then apt.
pub fn find_or_fetch(account: Option<&Account>) -> Outcome<Binaries> {
    if let Some(found) = first_working(installed(), account) {
        return Ok(found);
    }
    let wheel = match wheel::folders() {
        Ok(folders) => match first_working(folders, account) {
            Some(found) => return Ok(found),
            None => "its programs do not start here".to_owned(),
        },
        Err(reason) => reason,
    };
    let apt = match install_with_apt(account.is_some()) {
        Ok(()) => match first_working(installed(), account) {
            Some(found) => return Ok(found),
            None => "installed, yet its programs do not start".to_owned(),
        },
        Err(reason) => reason,
    };
    Err(format!(
        "no server programs on the PATH or in the usual folders (version {OLDEST} or newer); \
         Python wheel: {wheel}; apt: {apt}. Install PostgreSQL's server package and try again."
    ))
}

fn first_working(folders: Vec<PathBuf>, account: Option<&Account>) -> Option<Binaries> {
    folders.into_iter().find_map(|folder| working(folder, account))
}

fn working(folder: PathBuf, account: Option<&Account>) -> Option<Binaries> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let version = ask_version(&folder, account)?;
    (major(&version)? >= OLDEST).then_some(Binaries { folder, version })
}

fn ask_version(folder: &Path, account: Option<&Account>) -> Option<String> {
    let mut command = Command::new(folder.join("postgres"));
    command.arg("--version").current_dir("/");
    if let Some(account) = account {
        account.apply(&mut command);
    }
    // postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)
    let answer = workspace::quiet_output(&mut command)?;
    answer.split_whitespace().nth(2).map(str::to_owned)
}

/// Returns the major version of the programs in a folder, if they start at all.
pub fn major_version(folder: &Path) -> Option<u32> {
    ask_version(folder, None).as_deref().and_then(major)
}

fn major(version: &str) -> Option<u32> {
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn installed() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(postgres) = workspace::on_path("postgres").and_then(|file| file.canonicalize().ok()) {
        folders.extend(postgres.parent().map(Path::to_path_buf));
    }
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(version) = name.strip_prefix(prefix).and_then(major) {
                versions.push((version, entry.path().join("bin")));
            }
        }
    }
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    folders
}

fn install_with_apt(root: bool) -> Outcome {
    if !root {
        return Err("needs root".into());
    }
    workspace::install_with_apt("postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(major("15.8"), Some(15));
        assert_eq!(major("18beta1"), Some(18));
        assert_eq!(major("doc"), None);
    }
}
