//! How long each part of a command took.
//!
//! For: the table of minutes and seconds at the end. Not for: measuring Portico; that is `budget`.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::workspace::{self, Outcome};

/// The stages of one command, in the order in which they ran.
#[derive(Default)]
pub struct Stages {
    rows: Vec<Stage>,
}

struct Stage {
    name: String,
    took: Duration,
    passed: bool,
}

impl Stages {
    /// Runs one stage under a heading and remembers its time and whether it passed.
    pub fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        println!("==> {name}");
        let start = Instant::now();
        let outcome = work();
        let passed = outcome.is_ok();
        self.rows.push(Stage { name: name.to_owned(), took: start.elapsed(), passed });
        outcome
    }

    /// Prints the table.
    pub fn print(&self) {
        workspace::print(&self.table());
    }

    fn table(&self) -> String {
        let total = self.rows.iter().map(|row| row.took).sum();
        let mut text = String::from("\nstage          min:s\n");
        for Stage { name, took, passed } in &self.rows {
            let end = if *passed { "" } else { "  FAILED" };
            let _ = writeln!(text, "{name:<12} {:>7}{end}", clock(*took));
        }
        let _ = writeln!(text, "{:<12} {:>7}", "all", clock(total));
        text
    }
}

/// Returns a duration as minutes:seconds.
pub fn clock(duration: Duration) -> String {
    let seconds = (duration.as_millis() + 500) / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_and_seconds_are_rounded_together() {
        assert_eq!(clock(Duration::from_millis(59_600)), "1:00");
        assert_eq!(clock(Duration::from_secs(754)), "12:34");
    }

    #[test]
    fn a_failed_stage_is_marked() {
        let mut stages = Stages::default();
        let _ = stages.run("build", || Ok(()));
        let _ = stages.run("doc", || -> Outcome { Err("no".into()) });
        assert!(stages.table().contains("doc             0:00  FAILED\n"));
        assert!(stages.table().contains("build           0:00\n"));
    }
}
