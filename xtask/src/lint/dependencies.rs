//! Crates from outside: their licences, where they come from, which are banned, which come twice.
//!
//! For: what an audit asks, answered from `cargo metadata` for the platforms that we ship on.
//! Not for: known vulnerabilities; they need an advisory database.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{duplicates, licence};
use crate::workspace::{self, Outcome, list};

const PLATFORMS: [&str; 4] =
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-apple-darwin", "aarch64-apple-darwin"];

/// Crates that stay out, and why.
const BANNED: &[(&str, &str)] = &[
    ("native-tls", "TLS is rustls: the same on every machine"),
    ("openssl-sys", "it needs the machine's OpenSSL; TLS is rustls"),
    ("sqlx-macros", "queries are built by the store; the macros want a database while compiling"),
];

/// A crate by name and version.
type Name = (String, String);

/// Checks every crate that is linked, or run while building or testing.
pub fn check() -> Outcome<String> {
    let mut arguments = vec!["--locked"];
    arguments.extend(PLATFORMS.iter().flat_map(|platform| ["--filter-platform", platform]));
    let metadata = workspace::metadata(&arguments)
        .map_err(|error| format!("{error}\nIf Cargo.lock is out of date, run `cargo check`."))?;
    judge(&metadata, &used()?, &duplicates::reasons()?)
}

/// The crates that are really built. `cargo metadata` also names those behind features that
/// nobody turns on; `cargo tree` does not, but knows no licences.
fn used() -> Outcome<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for platform in PLATFORMS {
        let mut tree = workspace::cargo();
        tree.args(["tree", "--locked", "--workspace", "--target", platform]);
        tree.args(["--edges", "normal,build,dev", "--prefix", "none"]);
        names.extend(workspace::output(&mut tree)?.lines().filter_map(name_of));
    }
    Ok(names)
}

/// Reads `name v1.2.3 (proc-macro) (*)`.
fn name_of(line: &str) -> Option<Name> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some((name.to_owned(), version.to_owned()))
}

fn judge(metadata: &Value, used: &BTreeSet<Name>, allowed_twice: &str) -> Outcome<String> {
    let members: BTreeSet<&str> = list(&metadata["workspace_members"]).iter().filter_map(Value::as_str).collect();
    let mut unknown = used.clone();
    let mut problems = Vec::new();
    let mut majors = duplicates::Majors::default();
    let mut count = 0;
    for package in list(&metadata["packages"]) {
        let text = |key: &str| package[key].as_str();
        let (id, name, version) = (text("id"), text("name"), text("version"));
        let (Some(id), Some(name), Some(version)) = (id, name, version) else {
            continue;
        };
        let known = unknown.remove(&(name.to_owned(), version.to_owned()));
        if members.contains(id) || !known {
            continue;
        }
        count += 1;
        majors.add(name, version);
        if let Some((_, reason)) = BANNED.iter().find(|banned| banned.0 == name) {
            problems.push(format!("  {name} is banned: {reason} (`cargo tree -i {name}` tells who)"));
        }
        // No source means a path.
        if let Some(source) = text("source").filter(|source| !from_registry(source)) {
            problems.push(format!("  {name} comes from {source}; only a registry or a path will do"));
        }
        match text("license").map(licence::is_allowed) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => problems.push(format!(
                "  {name} {version} is under `{}`, which is not on our list",
                text("license").unwrap_or_default()
            )),
            Some(Err(error)) => problems.push(format!("  {name} {version}: {error}")),
            None => problems.push(format!("  {name} {version} names no licence")),
        }
    }
    if count == 0 {
        return Err("cargo metadata names no crate from outside, so nothing was checked".into());
    }
    for (name, version) in unknown {
        problems.push(format!("  {name} {version} is built, yet cargo metadata is silent about it"));
    }
    let twice = majors.twice();
    duplicates::compare(&twice, allowed_twice, &mut problems);
    if problems.is_empty() {
        return Ok(format!("{count} crates; licences, sources and bans hold; {} come twice for a reason", twice.len()));
    }
    Err(format!("of {count} crates from outside:\n{}", problems.join("\n")))
}

fn from_registry(source: &str) -> bool {
    source.starts_with("registry+") || source.starts_with("sparse+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Judges crates given as `name version licence source`, an empty string standing for none.
    fn verdict(lines: &[[&str; 4]]) -> Outcome<String> {
        let some = |text: &str| (!text.is_empty()).then(|| json!(text));
        let packages: Vec<Value> = lines
            .iter()
            .map(|[name, version, licence, source]| {
                json!({ "id": format!("{name}@{version}"), "name": name, "version": version,
                        "license": some(licence), "source": some(source) })
            })
            .collect();
        let used = lines
            .iter()
            .filter(|line| line[0] != "unused")
            .map(|line| (line[0].to_owned(), line[1].to_owned()))
            .collect();
        let metadata = json!({ "packages": packages, "workspace_members": ["own@0.1.0"] });
        judge(&metadata, &used, "")
    }

    const REGISTRY: &str = "registry+index";

    #[test]
    fn good_crates_pass_and_neither_our_own_nor_unused_ones_count() {
        let looked_at = verdict(&[
            ["own", "0.1.0", "", ""],
            ["serde", "1.0.1", "MIT OR Apache-2.0", REGISTRY],
            ["vendored", "1.2.0", "MIT", ""],
            ["unused", "1.2.0", "GPL-3.0-only", REGISTRY],
        ]);
        assert!(looked_at.unwrap().starts_with("2 crates;"));
    }

    #[test]
    fn each_problem_is_named() {
        let message = verdict(&[
            ["copyleft", "1.0.0", "GPL-3.0-only", REGISTRY],
            ["silent", "1.0.0", "", REGISTRY],
            ["broken", "1.0.0", "MIT OR", REGISTRY],
            ["forked", "1.0.0", "MIT", "git+somewhere"],
            ["openssl-sys", "0.9.1", "MIT", REGISTRY],
            ["twice", "0.4.1", "MIT", REGISTRY],
            ["twice", "0.10.0", "MIT", REGISTRY],
        ])
        .unwrap_err();
        for part in [
            "copyleft 1.0.0 is under `GPL-3.0-only`",
            "silent 1.0.0 names no licence",
            "broken 1.0.0: a licence's name is missing",
            "forked comes from git+somewhere",
            "openssl-sys is banned",
            "twice | 0.4, 0.10 | REASON",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }

    #[test]
    fn nothing_to_check_is_a_failure_and_so_is_a_crate_without_metadata() {
        let own = ["own", "0.1.0", "", ""];
        assert!(verdict(&[own]).unwrap_err().contains("nothing was checked"));
        let packages = json!([{ "id": "a", "name": "a", "version": "1.0.0", "license": "MIT" }]);
        let used = ["a", "ghost"].map(|name| (name.to_owned(), "1.0.0".to_owned())).into();
        let message = judge(&json!({ "packages": packages }), &used, "").unwrap_err();
        assert!(message.contains("ghost 1.0.0 is built"), "{message}");
    }

    #[test]
    fn a_line_of_the_tree_is_read_with_and_without_remarks() {
        let expected = Some(("serde".to_owned(), "1.0.2".to_owned()));
        assert_eq!(name_of("serde v1.0.2"), expected);
        assert_eq!(name_of("serde v1.0.2 (proc-macro) (*)"), expected);
        assert_eq!(name_of(""), None);
    }
}
