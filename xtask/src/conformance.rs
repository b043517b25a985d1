//! `cargo xtask conformance NAME`: runs a public conformance suite against Portico.
//!
//! For: suites that somebody else wrote (HTTP caching, WebSocket, OpenID Connect, ...).
//! Not for: our own tests; those are `cargo xtask test`.

use crate::workspace::Outcome;

/// A suite: its name, what it covers, and how to run it with the rest of the arguments.
type Suite = (&'static str, &'static str, fn(&[String]) -> Outcome);

/// One line for each suite, in alphabetical order.
const SUITES: &[Suite] = &[];

/// Runs the named suite, or lists them.
pub fn run(arguments: &[String]) -> Outcome {
    let Some(name) = arguments.first() else {
        println!("{}", names());
        return Ok(());
    };
    match SUITES.iter().find(|suite| suite.0 == name) {
        Some((_, _, run)) => run(&arguments[1..]),
        None => Err(format!("there is no conformance suite `{name}`; {}", names())),
    }
}

fn names() -> String {
    if SUITES.is_empty() {
        return "conformance suites: none yet".into();
    }
    let lines: Vec<String> = SUITES.iter().map(|(name, what, _)| format!("  {name:<16} {what}")).collect();
    format!("conformance suites:\n{}", lines.join("\n"))
}
