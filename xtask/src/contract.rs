//! `cargo xtask contract`: how much of the contract the tests have seen working.
//!
//! For: counting routes that answered 2xx through the door (the gateway, with everything behind
//! it) in the last test run. The test kit writes a line `METHOD /path/{template} STATUS` for each
//! answer into a file of its own under `PORTICO_CONTRACT_HITS`. Not for: whether the answer was
//! right; the tests say that.

pub mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use crate::workspace::{self, Outcome};
use table::{ROUTES, Route};

/// Where the test kit writes its lines.
pub const HITS_VARIABLE: &str = "PORTICO_CONTRACT_HITS";

/// Returns the folder of the last run's lines.
pub fn hits_folder() -> PathBuf {
    workspace::target_folder().join("contract-hits")
}

/// Prints the report; with `--missing` every route that has not answered.
pub fn run(arguments: &[String]) -> Outcome {
    let missing = match arguments {
        [] => false,
        [word] if word == "--missing" => true,
        _ => return Err("contract takes only --missing".into()),
    };
    if !hits_folder().is_dir() {
        return Err("no test run has left its marks yet; run `cargo xtask test` first".into());
    }
    let coverage = coverage()?;
    workspace::print(&coverage.report());
    if missing {
        for route in &coverage.missing {
            workspace::print(&format!("missing  {:<7} {}\n", route.method, route.path));
        }
    }
    Ok(())
}

/// Returns the one line that `cargo xtask test` ends with.
pub fn summary() -> Outcome<String> {
    coverage().map(|coverage| coverage.line())
}

fn coverage() -> Outcome<Coverage> {
    let routes = table::routes(&workspace::read(ROUTES)?)?;
    let mut marks = String::new();
    for entry in std::fs::read_dir(hits_folder()).into_iter().flatten().flatten() {
        if let Ok(text) = std::fs::read_to_string(entry.path()) {
            marks.push_str(&text);
            marks.push('\n');
        }
    }
    Ok(Coverage::of(&routes, &answered(&marks)))
}

struct Coverage {
    /// Per service: how many answered, how many there are.
    services: BTreeMap<String, (usize, usize)>,
    missing: Vec<Route>,
    /// Operations that answered 2xx and are not in the contract.
    beyond: usize,
}

impl Coverage {
    fn of(routes: &[Route], answered: &BTreeSet<(String, String)>) -> Self {
        let mut services: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut missing = Vec::new();
        let mut owed = BTreeSet::new();
        for route in routes {
            let count = services.entry(route.service.clone()).or_default();
            count.1 += 1;
            if answered.contains(&route.key()) {
                count.0 += 1;
            } else {
                missing.push(route.clone());
            }
            owed.insert(route.key());
        }
        missing.sort();
        Self { services, missing, beyond: answered.difference(&owed).count() }
    }

    fn total(&self) -> (usize, usize) {
        self.services.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    fn line(&self) -> String {
        let (seen, all) = self.total();
        format!("contract: {seen} of {all} routes answered 2xx through the door in the tests")
    }

    fn report(&self) -> String {
        let mut text = String::new();
        for (service, (seen, all)) in &self.services {
            let _ = writeln!(text, "{service:<16} {seen:>4} of {all}");
        }
        let (seen, all) = self.total();
        let _ = writeln!(text, "{:<16} {seen:>4} of {all}", "total");
        let _ = writeln!(text, "{:<16} {:>4}", "beyond the table", self.beyond);
        text
    }
}

/// The operations that succeeded, from the test kit's lines.
fn answered(marks: &str) -> BTreeSet<(String, String)> {
    let mut answered = BTreeSet::new();
    for line in marks.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [method, path, status] = words.as_slice() else {
            continue;
        };
        match status.parse() {
            Ok(200..=299) => answered.insert(((*method).to_owned(), table::shape(path))),
            // A WebSocket is a GET that was answered with 101; the contract calls it WS.
            Ok(101) => answered.insert(("WS".to_owned(), table::shape(path))),
            _ => false,
        };
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(service: &str, method: &str, path: &str) -> Route {
        Route { service: service.into(), method: method.into(), path: path.into() }
    }

    #[test]
    fn only_success_counts_and_parameter_names_do_not() {
        let routes = [
            route("inventory", "GET", "/api/items/{id}"),
            route("inventory", "POST", "/api/items"),
            route("notifications", "WS", "/api/notifications/ws"),
        ];
        let marks = "GET /api/items/{itemId} 200\nGET /api/items/{itemId} 404\n\
                     POST /api/items 409\nGET /api/notifications/ws 101\nGET /more 200\n\nbroken\n";
        let coverage = Coverage::of(&routes, &answered(marks));
        assert_eq!(coverage.total(), (2, 3));
        assert_eq!(coverage.missing, [route("inventory", "POST", "/api/items")]);
        assert_eq!(coverage.beyond, 1);
        assert!(coverage.report().contains("inventory           1 of 2\n"));
    }
}
