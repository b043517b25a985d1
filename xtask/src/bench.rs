//! `cargo xtask bench`: runs the side-by-side benchmarks.
//!
//! For: one name for "run the benchmarks as they count", in release form. Not for: the benchmarks
//! themselves; they are the `bench` crate.

use crate::workspace::{self, Outcome};

/// Runs the bench crate with the arguments given.
pub fn run(arguments: &[String]) -> Outcome {
    if !workspace::has_package("bench")? {
        println!("There is no bench crate in this workspace yet, so there is nothing to run.");
        return Ok(());
    }
    let arguments = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    workspace::run(workspace::cargo().args(["run", "--release", "--package", "bench", "--"]).args(arguments))
}
