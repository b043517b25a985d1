//! The contract only grows: front ends, agents and webhooks in the field rely on every line.
//!
//! For: comparing the two tables with every version of them that was ever committed, so that a
//! line cannot get lost in a row of commits. A line that has to go is listed in
//! `contract/removed.tsv` with its reason. Not for: what changed beside method and path.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::table::{self, EVENTS, ROUTES};
use crate::workspace::{self, Outcome, program};

const REMOVED: &str = "contract/removed.tsv";
const REMOVED_HEADER: &str = "what\treason";

/// Checks the form of both tables and that neither has lost a line.
pub fn check() -> Outcome<String> {
    let routes = names(ROUTES, &workspace::read(ROUTES)?)?;
    let events = names(EVENTS, &workspace::read(EVENTS)?)?;
    let removed = removed()?;
    let mut lost = Vec::new();
    let mut compared = 0;
    for (file, now) in [(ROUTES, &routes), (EVENTS, &events)] {
        let history = committed(file)?;
        compared += history.len();
        lost.extend(missing(file, now, &history, &removed));
    }
    if !lost.is_empty() {
        return Err(format!(
            "the contract only grows, and these lines are gone:\n{}\n\
             Put them back; if one really has to go, list it in {REMOVED} with the reason.",
            lost.join("\n")
        ));
    }
    let history = match compared {
        0 => "NOT compared, since git shows no committed version".to_owned(),
        _ => format!("nothing lost in {compared} committed versions"),
    };
    Ok(format!("{} routes, {} events; {history}", routes.len(), events.len()))
}

/// What identifies each line, as a person would write it: `GET /api/items/{}` or an event's name.
fn names(file: &str, text: &str) -> Outcome<BTreeSet<String>> {
    if file == EVENTS {
        return Ok(table::events(text)?.into_iter().collect());
    }
    let name = |route: table::Route| format!("{} {} {}", route.service, route.method, table::shape(&route.path));
    Ok(table::routes(text)?.into_iter().map(name).collect())
}

/// Every version of a file in the history, by the short name of its commit.
fn committed(file: &str) -> Outcome<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    let mut log = program("git");
    log.args(["log", "--format=%h", "--", file]);
    // Without a repository or a first commit there is nothing to compare with.
    for commit in workspace::quiet_output(&mut log).unwrap_or_default().lines() {
        let version = format!("{commit}:{file}");
        // A commit that deletes the file has no version of it.
        if let Some(text) = workspace::quiet_output(program("git").args(["show", &version])) {
            versions.insert(commit.to_owned(), text);
        }
    }
    Ok(versions)
}

fn missing(
    file: &str,
    now: &BTreeSet<String>,
    history: &BTreeMap<String, String>,
    removed: &BTreeSet<String>,
) -> Vec<String> {
    let mut lost = BTreeMap::new();
    for (commit, text) in history {
        // A version that breaks today's form says nothing about today's lines.
        for name in names(file, text).unwrap_or_default() {
            if !now.contains(&name) && !removed.contains(&name) {
                lost.insert(name, commit);
            }
        }
    }
    lost.into_iter().map(|(name, commit)| format!("  {name} (still there in {commit})")).collect()
}

/// The lines that went on purpose.
fn removed() -> Outcome<BTreeSet<String>> {
    if !workspace::root().join(REMOVED).exists() {
        return Ok(BTreeSet::new());
    }
    read_removed(&workspace::read(REMOVED)?)
}

fn read_removed(text: &str) -> Outcome<BTreeSet<String>> {
    let mut lines = text.lines();
    if lines.next() != Some(REMOVED_HEADER) {
        return Err(format!("{REMOVED}:1: the first line must be `what <tab> reason`"));
    }
    lines
        .map(|line| match line.split_once('\t') {
            Some((what, reason)) if !reason.trim().is_empty() => {
                // As somebody copies it out of the routes' table, with the parameters' names.
                Ok(table::shape(what))
            }
            _ => Err(format!("{REMOVED}: `{line}` has no reason")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "service\tmethod\tpath\tcaller\tupstream_path\tnote\n";

    fn routes(lines: &[&str]) -> String {
        let rows: String = lines.iter().map(|line| format!("a\t{line}\tuser\t\t\n")).collect();
        format!("{HEADER}{rows}")
    }

    fn lost(now: &[&str], before: &[&str], removed: &str) -> Vec<String> {
        let history = BTreeMap::from([("c0ffee".to_owned(), routes(before))]);
        let now = names(ROUTES, &routes(now)).unwrap();
        missing(ROUTES, &now, &history, &read_removed(removed).unwrap())
    }

    #[test]
    fn a_longer_table_and_a_renamed_parameter_lose_nothing() {
        let before = ["GET\t/items/{id}"];
        assert!(lost(&["POST\t/items", "GET\t/items/{itemId}"], &before, "what\treason").is_empty());
    }

    #[test]
    fn a_lost_line_is_named_with_a_commit_that_had_it() {
        let lost = lost(&["GET\t/b"], &["GET\t/b", "GET\t/items/{id}"], "what\treason");
        assert_eq!(lost, ["  a GET /items/{} (still there in c0ffee)"]);
    }

    #[test]
    fn a_removal_needs_its_reason() {
        let removed = "what\treason\na GET /items/{id}\ta slip of the pen, never served\n";
        assert!(lost(&["GET\t/b"], &["GET\t/b", "GET\t/items/{id}"], removed).is_empty());
        assert!(read_removed("what\treason\na GET /items\t\n").is_err());
    }

    #[test]
    fn events_are_compared_by_name() {
        let text = "event\tpublished by\twire name elsewhere\na.b\ta\n";
        let history = BTreeMap::from([("c0ffee".to_owned(), text.to_owned())]);
        assert_eq!(missing(EVENTS, &BTreeSet::new(), &history, &BTreeSet::new()).len(), 1);
    }
}
