//! Suites that are written for Node.
//!
//! For: finding Node, installing the pinned packages of `xtask/conformance/NAME` under
//! `target/tools`, and running the suite there. Not for: what a suite checks.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use super::tally::Tally;
use crate::workspace::{self, Outcome};

/// The oldest major version of Node that the suites are written for.
const OLDEST: u32 = 20;
const LOCK: &str = "package-lock.json";

/// A suite that is ready to run.
pub struct Suite {
    folder: PathBuf,
}

impl Suite {
    /// Copies the suite beside its packages and installs them, once for each lock file.
    pub fn prepare(name: &str) -> Outcome<Self> {
        let version = node_version()?;
        let source = workspace::root().join("xtask/conformance").join(name);
        let folder = workspace::target_folder().join("tools").join(format!("conformance-{name}"));
        let lock = std::fs::read_to_string(source.join(LOCK)).map_err(|error| cannot("read", &source, &error))?;
        // Written when everything is there: an install that broke off is begun anew.
        let stamp = folder.join("installed.json");
        let installed = std::fs::read_to_string(&stamp).is_ok_and(|text| text == lock);
        if !installed && folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| cannot("empty", &folder, &error))?;
        }
        // Node looks for packages beside the script that wants them.
        for part in [workspace::root().join("xtask/conformance"), source] {
            copy(&part, &folder).map_err(|error| cannot("fill", &folder, &error))?;
        }
        if !installed {
            install(&folder)?;
            std::fs::write(&stamp, &lock).map_err(|error| cannot("write", &stamp, &error))?;
        }
        println!("Node {version}, {}", pinned(&lock)?.join(", "));
        Ok(Self { folder })
    }

    /// Runs the suite's `main.mjs` with this on its standard input, printing what it prints.
    pub fn run(&self, input: &Value) -> Outcome<Tally> {
        let mut command = workspace::program("node");
        command.arg("main.mjs").current_dir(&self.folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| workspace::not_started(&command, &error))?;
        // Dropping the pipe afterwards tells the suite that this is all.
        let sent = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.to_string().as_bytes()));
        let mut tally = Tally::default();
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let line = line.map_err(|error| format!("the suite's output cannot be read: {error}"))?;
            if tally.take(&line) {
                println!("{line}");
            }
        }
        let status = child.wait().map_err(|error| format!("the suite is lost: {error}"))?;
        sent.map_err(|error| format!("the suite took no input: {error}"))?;
        tally.ended(status.success());
        Ok(tally)
    }
}

fn node_version() -> Outcome<String> {
    let found = workspace::quiet_output(workspace::program("node").arg("--version"));
    let version = found.ok_or(format!("there is no `node` on the PATH; install Node {OLDEST} or newer"))?;
    let version = version.trim().trim_start_matches('v').to_owned();
    match major(&version) {
        Some(number) if number >= OLDEST => Ok(version),
        _ => Err(format!("the `node` on the PATH is version {version}; install Node {OLDEST} or newer")),
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

fn install(folder: &Path) -> Outcome {
    if workspace::on_path("npm").is_none() {
        return Err(
            "there is no `npm` on the PATH; it comes with Node, in some distributions as a package `npm`".into()
        );
    }
    let mut command = workspace::program("npm");
    command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(folder);
    workspace::run(&mut command)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", workspace::short(path))
}

/// Returns the packages that a suite asks for, each with the version that its lock file names.
fn pinned(lock: &str) -> Outcome<Vec<String>> {
    let lock: Value = serde_json::from_str(lock).map_err(|error| format!("{LOCK} is not JSON: {error}"))?;
    let packages = &lock["packages"];
    let wanted = packages[""]["dependencies"].as_object().ok_or(format!("{LOCK} has no packages"))?;
    let named = wanted.keys().filter_map(|name| {
        let version = packages[format!("node_modules/{name}")]["version"].as_str()?;
        Some(format!("{name} {version}"))
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(major("20.20.2"), Some(20));
        assert_eq!(major("unknown"), None);
    }

    #[test]
    fn the_client_of_the_tokens_suite_is_pinned() {
        let lock = workspace::read("xtask/conformance/tokens/package-lock.json").unwrap();
        assert_eq!(pinned(&lock).unwrap(), ["jose 6.2.17"]);
        assert!(lock.contains("\"integrity\": \"sha512-"));
        let wanted: Value =
            serde_json::from_str(&workspace::read("xtask/conformance/tokens/package.json").unwrap()).unwrap();
        assert_eq!(wanted["dependencies"]["jose"], "6.2.17", "an exact version");
    }
}
