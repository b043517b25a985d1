//! The side-by-side benchmarks. `cargo xtask bench` builds this in release form and runs it; the
//! report goes to standard output as Markdown, what is being done to standard error. Nothing here
//! fails because something was slow. Not for tests, and not for first impressions: `cargo xtask
//! budget` measures those.
#![expect(clippy::disallowed_methods, reason = "a command-line tool: the bans protect servers and tests")]

mod client;
mod export;
mod flood;
mod inventory;
mod live;
mod login;
mod paced;
mod peer;
mod people;
mod permission;
mod scale;
mod server;
mod sign_in;
mod token_check;

use std::process::ExitCode;

use measure::{Outcome, figures, process, quiet, report};

/// How much is done, and on what.
struct Plan {
    /// Fewer rounds, smaller databases: to see that it works, not for numbers that are kept.
    quick: bool,
    /// Runs what asks a store.
    runtime: tokio::runtime::Runtime,
    /// The engines that can be tried here.
    engines: Vec<store::Engine>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The server under measurement is this program again: what ships, in a process of its own.
        ["serve", ..] => return portico::cli::run(),
        // So is the part of it that is measured without the rest.
        [inventory::bare::NAME, tenant] => inventory::bare::serve(tenant),
        ["export"] => plan(false).and_then(|plan| export::run(&plan)),
        ["export", "--quick"] => plan(true).and_then(|plan| export::run(&plan)),
        ["inventory"] => plan(false).and_then(|plan| inventory::run(&plan)),
        ["inventory", "--quick"] => plan(true).and_then(|plan| inventory::run(&plan)),
        ["sign-in"] => plan(false).and_then(|plan| sign_in::run(&plan)),
        ["sign-in", "--quick"] => plan(true).and_then(|plan| sign_in::run(&plan)),
        ["live", "--quick", ref parts @ ..] => plan(true).and_then(|plan| live::run(&plan, parts)),
        ["live", ref parts @ ..] => plan(false).and_then(|plan| live::run(&plan, parts)),
        _ => Err("bench sign-in [--quick], bench inventory [--quick], bench export [--quick], or bench live [--quick] [PART ...]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn plan(quick: bool) -> Outcome<Plan> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(Plan { quick, runtime, engines: testkit::engines() })
}

/// Says what is being done.
fn say(text: impl std::fmt::Display) {
    eprintln!("bench: {text}");
}
