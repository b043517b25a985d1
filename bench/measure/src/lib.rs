//! What every benchmark needs: medians and ratios, CPU time and memory of a process, tables as Markdown,
//! and whether the machine was quiet. It depends on nothing, so that a benchmark that only talks to
//! servers compiles in seconds. Not for any benchmark's own work.
#![expect(clippy::disallowed_methods, reason = "for command-line tools: the bans protect servers and tests")]

pub mod figures;
pub mod process;
pub mod quiet;
pub mod report;

/// The result of a step: the error is a message for the person at the terminal.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
