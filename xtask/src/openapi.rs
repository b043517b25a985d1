//! `cargo xtask openapi`: compares what the binary makes of its OpenAPI document (JSON, YAML as a whole
//! and for each service, Postman collection) with what was reviewed.
//!
//! For: making every change of the surface a visible line in a commit, and a break a reviewed one: the
//! interface only grows, and what has to go is listed in `docs/openapi/breaking.tsv` with its reason.
//! Not for: telling a break from a change; `portico openapi diff` does that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::workspace::{self, Outcome, program};

const FOLDER: &str = "docs/openapi";
const REVIEWED: &str = "docs/openapi/portico.json";
const ACCEPTED: &str = "docs/openapi/breaking.tsv";
const ACCEPTED_HEADER: &str = "what\treason";
const MOST_LINES: usize = 60;
/// How `portico openapi diff` begins the lines that matter most.
const BREAKING: &str = "BREAKING";

/// Shows what would change; with `--accept` writes it.
pub fn run(arguments: &[String]) -> Outcome {
    let accept = match arguments {
        [] => false,
        [word] if word == "--accept" => true,
        _ => return Err("openapi takes only --accept".into()),
    };
    let made = Made::make()?;
    let stale = made.stale()?;
    if stale.is_empty() {
        println!("{FOLDER} is up to date ({} operations)", made.operations()?);
        return Ok(());
    }
    workspace::print(&made.report(&stale)?);
    if !accept {
        println!("To accept: cargo xtask openapi --accept");
        return Ok(());
    }
    for name in &stale {
        match made.files.get(name) {
            Some(text) => workspace::write(format!("{FOLDER}/{name}"), text)?,
            None => {
                std::fs::remove_file(workspace::root().join(FOLDER).join(name)).map_err(|error| error.to_string())?
            }
        }
    }
    println!("Wrote {}. Read the diff before you commit it.", stale.join(", "));
    Ok(())
}

/// Fails unless the reviewed files are what the binary makes, and nothing breaks that was committed before.
pub fn check() -> Outcome<String> {
    let made = Made::make()?;
    let operations = made.operations()?;
    if operations == 0 {
        return Err("`portico openapi` lists no operation, so nothing was compared".into());
    }
    let stale = made.stale()?;
    if !stale.is_empty() {
        return Err(format!(
            "the OpenAPI document changed:\n{}\
             If this is what you meant, run `cargo xtask openapi --accept` and commit {FOLDER}.",
            made.report(&stale)?
        ));
    }
    let against = made.breaks()?;
    Ok(format!("{operations} operations in {} files as reviewed; {against}", made.files.len()))
}

/// What the binary makes now.
struct Made {
    binary: PathBuf,
    folder: PathBuf,
    files: BTreeMap<String, String>,
}

impl Made {
    fn make() -> Outcome<Self> {
        workspace::run(workspace::cargo().args(["build", "--package", "portico", "--quiet"]))?;
        let binary = workspace::target_folder().join("debug").join("portico");
        let folder = workspace::target_folder().join("tmp").join("openapi");
        let _ = std::fs::remove_dir_all(&folder);
        workspace::output(program(&binary).args(["openapi", "export", "--folder"]).arg(&folder))?;
        Ok(Self { files: files(&folder)?, binary, folder })
    }

    fn operations(&self) -> Outcome<usize> {
        let text = self.files.get("portico.json").ok_or("the binary made no portico.json")?;
        let document: Value =
            serde_json::from_str(text).map_err(|error| format!("the document is not JSON: {error}"))?;
        let items = document["paths"].as_object().into_iter().flat_map(|paths| paths.values());
        Ok(items.filter_map(Value::as_object).map(serde_json::Map::len).sum())
    }

    /// The files that are not as reviewed: changed, new, or made no more.
    fn stale(&self) -> Outcome<Vec<String>> {
        let mut reviewed = files(&workspace::root().join(FOLDER))?;
        // Written by people.
        reviewed.retain(|name, _| name.ends_with(".yaml") || name.ends_with(".json"));
        Ok(different(&reviewed, &self.files))
    }

    /// What changed, in words: first what callers notice, then the files.
    fn report(&self, stale: &[String]) -> Outcome<String> {
        let mut lines = match workspace::root().join(REVIEWED).exists() {
            true => self.changes(&workspace::root().join(REVIEWED))?,
            false => vec![format!("{REVIEWED} does not exist yet")],
        };
        let more = lines.len().saturating_sub(MOST_LINES);
        lines.truncate(MOST_LINES);
        if more > 0 {
            lines.push(format!("... and {more} more"));
        }
        if lines.is_empty() {
            lines.push("nothing that callers notice: words, examples or order".into());
        }
        lines.push(format!("in {}", stale.join(", ")));
        Ok(lines.iter().map(|line| format!("  {line}\n")).collect())
    }

    /// The changes from another document to the one made now, one a line.
    fn changes(&self, before: &Path) -> Outcome<Vec<String>> {
        let mut command = program(&self.binary);
        command.args(["openapi", "diff"]).arg(before).arg(self.folder.join("portico.json"));
        // It ends with 1 when something breaks; what it prints says which.
        let done = command.output().map_err(|error| workspace::not_started(&command, &error))?;
        let text = String::from_utf8_lossy(&done.stdout);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if !done.status.success() && !lines.iter().any(|line| line.starts_with(BREAKING)) {
            return Err(format!(
                "`{}` failed: {}",
                workspace::describe(&command),
                String::from_utf8_lossy(&done.stderr)
            ));
        }
        Ok(lines)
    }

    /// Compares with the newest committed document that differs, and insists that each break has a reason.
    fn breaks(&self) -> Outcome<String> {
        let Some((commit, text)) = self.committed() else {
            return Ok("no other committed version to compare with".into());
        };
        let before = self.folder.join("committed.json");
        std::fs::write(&before, text).map_err(|error| error.to_string())?;
        let accepted = accepted()?;
        let unexplained = unexplained(&self.changes(&before)?, &accepted);
        if unexplained.is_empty() {
            return Ok(format!("nothing of {commit} breaks without a reason"));
        }
        Err(format!(
            "callers of the interface as {commit} had it would break:\n{}\n\
             Put it back; if it really has to go, list it in {ACCEPTED} with the reason.",
            unexplained.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
        ))
    }

    fn committed(&self) -> Option<(String, String)> {
        let now = self.files.get("portico.json")?;
        let log = workspace::quiet_output(program("git").args(["log", "-n", "2", "--format=%h", "--", REVIEWED]))?;
        let versions = log.lines().filter_map(|commit| {
            let text = workspace::quiet_output(program("git").args(["show", &format!("{commit}:{REVIEWED}")]))?;
            Some((commit.to_owned(), text))
        });
        let mut others = versions.filter(|(_, text)| text != now);
        others.next()
    }
}

fn files(folder: &Path) -> Outcome<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", workspace::short(folder)))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file()) else { continue };
        found.insert(name.to_owned(), std::fs::read_to_string(&path).map_err(|error| error.to_string())?);
    }
    Ok(found)
}

fn different(reviewed: &BTreeMap<String, String>, made: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = reviewed.keys().chain(made.keys()).collect();
    names.into_iter().filter(|name| reviewed.get(*name) != made.get(*name)).cloned().collect()
}

/// The breaks that nobody gave a reason for.
fn unexplained(changes: &[String], accepted: &BTreeSet<String>) -> Vec<String> {
    let breaking = changes.iter().filter_map(|line| line.strip_prefix(BREAKING)).map(str::trim);
    breaking.filter(|line| !accepted.contains(*line)).map(str::to_owned).collect()
}

/// The breaks that were accepted, as `portico openapi diff` writes them.
fn accepted() -> Outcome<BTreeSet<String>> {
    if !workspace::root().join(ACCEPTED).exists() {
        return Ok(BTreeSet::new());
    }
    read_accepted(&workspace::read(ACCEPTED)?)
}

fn read_accepted(text: &str) -> Outcome<BTreeSet<String>> {
    let mut lines = text.lines();
    if lines.next() != Some(ACCEPTED_HEADER) {
        return Err(format!("{ACCEPTED}:1: the first line must be `what <tab> reason`"));
    }
    let read = |line: &str| match line.split_once('\t') {
        Some((what, reason)) if !reason.trim().is_empty() => Ok(what.trim().to_owned()),
        _ => Err(format!("{ACCEPTED}: `{line}` has no reason")),
    };
    lines.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn files_are_stale_that_changed_came_or_went() {
        let reviewed = folder(&[("a.yaml", "1"), ("b.yaml", "1"), ("gone.yaml", "1")]);
        let made = folder(&[("a.yaml", "1"), ("b.yaml", "2"), ("new.yaml", "1")]);
        assert_eq!(different(&reviewed, &made), ["b.yaml", "gone.yaml", "new.yaml"]);
    }

    #[test]
    fn a_break_needs_its_reason() {
        let changes =
            ["BREAKING  GET /a: the operation is gone", "careful   GET /b: may answer 202", "safe      GET /c: is new"];
        let changes = changes.map(str::to_owned);
        let none = BTreeSet::new();
        assert_eq!(unexplained(&changes, &none), ["GET /a: the operation is gone"]);
        let accepted = read_accepted("what\treason\nGET /a: the operation is gone\tnever worked\n").unwrap();
        assert!(unexplained(&changes, &accepted).is_empty());
        assert!(read_accepted("what\treason\nGET /a: the operation is gone\t\n").is_err());
        assert!(read_accepted("GET /a\tx\n").is_err());
    }
}
