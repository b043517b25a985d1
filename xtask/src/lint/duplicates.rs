//! Crates that are built in two majors at once: twice the build time, and types that do not fit.
//!
//! For: making each of them a decision with a reason, in `xtask/duplicates.txt`, that is deleted
//! when the reason goes. Not for: where the crates come from; `dependencies` brings them.

use std::collections::{BTreeMap, BTreeSet};

const FILE: &str = "xtask/duplicates.txt";

/// Every major version of every crate.
#[derive(Default)]
pub struct Majors {
    crates: BTreeMap<String, BTreeSet<Major>>,
}

impl Majors {
    /// Notes one crate.
    pub fn add(&mut self, name: &str, version: &str) {
        self.crates.entry(name.to_owned()).or_default().insert(major(version));
    }

    /// Returns the crates that come more than once, with their versions as the file has them.
    pub fn twice(&self) -> BTreeMap<String, String> {
        let written = |majors: &BTreeSet<Major>| majors.iter().map(written).collect::<Vec<_>>().join(", ");
        self.crates
            .iter()
            .filter(|(_, majors)| majors.len() > 1)
            .map(|(name, majors)| (name.clone(), written(majors)))
            .collect()
    }
}

/// Returns the text of the file that holds the reasons.
pub fn reasons() -> crate::workspace::Outcome<String> {
    crate::workspace::read(FILE)
}

/// Every pair of majors must stand in the file with its reason, and nothing else may.
pub fn compare(twice: &BTreeMap<String, String>, file: &str, problems: &mut Vec<String>) {
    let mut allowed = BTreeMap::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            [name, versions, reason] if !reason.is_empty() => {
                allowed.insert((*name).to_owned(), (*versions).to_owned());
            }
            _ => problems.push(format!("  {FILE}: `{line}` is not `name | versions | reason`")),
        }
    }
    for (name, versions) in twice {
        if allowed.remove(name).as_ref() != Some(versions) {
            problems.push(format!(
                "  {name} is there in {versions}; get rid of one (`cargo tree -i {name}@VERSION` \
                 tells who wants it), or write into {FILE}: {name} | {versions} | REASON"
            ));
        }
    }
    for name in allowed.keys() {
        problems.push(format!("  {FILE}: {name} comes only once now; delete its line"));
    }
}

type Major = (u64, u64, u64);

/// The part of a version that a compatible release may not change.
fn major(version: &str) -> Major {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    match (next(), next(), next()) {
        (0, 0, patch) => (0, 0, patch),
        (0, minor, _) => (0, minor, 0),
        (major, ..) => (major, 0, 0),
    }
}

fn written(major: &Major) -> String {
    match major {
        (0, 0, patch) => format!("0.0.{patch}"),
        (0, minor, _) => format!("0.{minor}"),
        (major, ..) => major.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(versions: &[&str], file: &str) -> Vec<String> {
        let mut majors = Majors::default();
        versions.iter().for_each(|version| majors.add("some", version));
        let mut problems = Vec::new();
        compare(&majors.twice(), file, &mut problems);
        problems
    }

    #[test]
    fn compatible_versions_are_one_major() {
        for versions in [["1.0.1", "1.9.0"], ["0.4.1", "0.4.9"], ["0.0.3", "0.0.3"]] {
            assert!(problems(&versions, "# none\n").is_empty(), "{versions:?}");
        }
    }

    #[test]
    fn two_majors_are_told_with_the_line_to_write() {
        let lines = problems(&["0.4.1", "0.10.0", "2.0.0-rc.1"], "");
        assert!(lines[0].contains("some | 0.4, 0.10, 2 | REASON"), "{lines:?}");
        assert_eq!(problems(&["0.0.3", "0.0.4"], "").len(), 1);
    }

    #[test]
    fn a_reason_holds_until_the_versions_change() {
        assert!(problems(&["1.0.0", "2.0.0"], "some | 1, 2 | b wants 1\n").is_empty());
        assert_eq!(problems(&["1.0.0", "3.0.0"], "some | 1, 2 | b wants 1\n").len(), 1);
    }

    #[test]
    fn a_line_without_reason_or_without_need_is_a_problem() {
        assert_eq!(problems(&["1.0.0", "2.0.0"], "some | 1, 2 |\n").len(), 2);
        assert!(problems(&["1.0.0"], "some | 1, 2 | gone\n")[0].contains("comes only once"));
        assert!(problems(&["1.0.0"], "bare\n")[0].contains("`bare` is not"));
    }
}
