//! `cargo xtask openapi`: compares the OpenAPI document with the one that was reviewed.
//!
//! For: making every change of the surface a visible line in a commit. Not for: judging it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::workspace::{self, Outcome};

const REVIEWED: &str = "docs/openapi/portico.json";
const MOST_LINES: usize = 40;

/// Shows what would change; with `--accept` writes it.
pub fn run(arguments: &[String]) -> Outcome {
    let accept = match arguments {
        [] => false,
        [word] if word == "--accept" => true,
        _ => return Err("openapi takes only --accept".into()),
    };
    let now = generate()?;
    let before = reviewed()?;
    if before.as_deref() == Some(now.as_str()) {
        println!("{REVIEWED} is up to date ({} operations)", operations(&now)?.len());
        return Ok(());
    }
    workspace::print(&report(before.as_deref(), &now)?);
    if !accept {
        println!("To accept: cargo xtask openapi --accept");
        return Ok(());
    }
    workspace::write(REVIEWED, &now)?;
    println!("Wrote {REVIEWED}. Read the diff before you commit it.");
    Ok(())
}

/// Fails unless the reviewed document is what the binary prints.
pub fn check() -> Outcome<String> {
    let now = generate()?;
    let operations = operations(&now)?.len();
    if operations == 0 {
        return Err("`portico openapi` lists no operation, so nothing was compared".into());
    }
    let before = reviewed()?;
    if before.as_deref() == Some(now.as_str()) {
        return Ok(format!("{operations} operations as reviewed"));
    }
    Err(format!(
        "the OpenAPI document changed:\n{}\
         If this is what you meant, run `cargo xtask openapi --accept` and commit {REVIEWED}.",
        report(before.as_deref(), &now)?
    ))
}

fn generate() -> Outcome<String> {
    let text = workspace::output(workspace::cargo().args(["run", "--package", "portico", "--", "openapi"]))?;
    Ok(format!("{}\n", text.trim_end()))
}

fn reviewed() -> Outcome<Option<String>> {
    if workspace::root().join(REVIEWED).exists() { workspace::read(REVIEWED).map(Some) } else { Ok(None) }
}

fn parse(text: &str) -> Outcome<Value> {
    serde_json::from_str(text).map_err(|error| format!("the OpenAPI document is not JSON: {error}"))
}

/// The operations of a document by "METHOD path".
fn operations(text: &str) -> Outcome<BTreeMap<String, Value>> {
    let document = parse(text)?;
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if matches!(method.as_str(), "get" | "put" | "post" | "delete" | "options" | "head" | "patch" | "trace") {
                operations.insert(format!("{} {path}", method.to_uppercase()), operation.clone());
            }
        }
    }
    Ok(operations)
}

/// Everything outside the paths, cut into pieces that a reader can look up.
fn others(text: &str) -> Outcome<BTreeMap<String, Value>> {
    let document = parse(text)?;
    let mut others = BTreeMap::new();
    for (name, value) in document.as_object().into_iter().flatten() {
        match name.as_str() {
            "paths" => {}
            "components" => {
                for (kind, members) in value.as_object().into_iter().flatten() {
                    for (member, value) in members.as_object().into_iter().flatten() {
                        others.insert(format!("components/{kind}/{member}"), value.clone());
                    }
                }
            }
            _ => {
                others.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(others)
}

/// A short list of what was added, removed and changed.
fn report(before: Option<&str>, now: &str) -> Outcome<String> {
    let Some(before) = before else {
        return Ok(format!("  {REVIEWED} does not exist yet\n"));
    };
    let mut lines = Vec::new();
    difference(&operations(before)?, &operations(now)?, &mut lines);
    difference(&others(before)?, &others(now)?, &mut lines);
    if lines.is_empty() {
        lines.push("only the order or the formatting changed".into());
    }
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    if more > 0 {
        lines.push(format!("... and {more} more"));
    }
    Ok(lines.iter().map(|line| format!("  {line}\n")).collect())
}

fn difference(before: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>, lines: &mut Vec<String>) {
    for name in before.keys().filter(|name| !now.contains_key(*name)) {
        lines.push(format!("removed  {name}"));
    }
    for (name, value) in now {
        match before.get(name) {
            None => lines.push(format!("added    {name}")),
            Some(old) if old != value => lines.push(format!("changed  {name}")),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_operations_and_schemas() {
        let before = r#"{"paths":{"/a":{"get":{"summary":"x"},"parameters":[]},"/b":{"post":{}}}}"#;
        let now = r#"{"paths":{"/a":{"get":{"summary":"y"}},"/c":{"post":{}}},
                      "components":{"schemas":{"Item":{}}}}"#;
        assert_eq!(
            report(Some(before), now).unwrap(),
            "  removed  POST /b\n  changed  GET /a\n  added    POST /c\n\
             \x20 added    components/schemas/Item\n"
        );
    }

    #[test]
    fn a_reordered_document_says_so() {
        let report = report(Some(r#"{"a":1,"b":2}"#), r#"{"b":2,"a":1}"#).unwrap();
        assert_eq!(report, "  only the order or the formatting changed\n");
    }
}
