//! Whether other programs disturbed a run: what they use before and after it, said above the
//! report. Not for what happened in between.

use std::time::Duration;

use crate::figures::short;
use crate::report::Table;
use crate::{Outcome, process};

/// How long, before and after, it looks at what else the machine does.
const LOOK: Duration = Duration::from_secs(5);
/// How many cores others may use.
const QUIET: f64 = 0.1;

/// A run that is under way.
pub struct Run {
    before: f64,
}

impl Run {
    /// Looks at the machine, before anything is measured.
    pub fn begin() -> Outcome<Self> {
        Ok(Self { before: process::cores_in_use(LOOK)? })
    }

    /// Looks again, and prints the report.
    pub fn end(self, tables: &[Table]) -> Outcome {
        let after = process::cores_in_use(LOOK)?;
        let judged = if self.before.max(after) > QUIET { ": run it again on a quiet machine" } else { "" };
        println!(
            "Other programs used {} cores before it began and {} after it ended{judged}.\n",
            short(self.before),
            short(after)
        );
        let text: String = tables.iter().map(ToString::to_string).collect();
        println!("{}", text.trim_end());
        Ok(())
    }
}
