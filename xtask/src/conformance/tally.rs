//! What a suite printed, counted.
//!
//! For: believing a suite only when its lines, its own sum and its exit code agree, and when it ran
//! as many checks as it should have. Not for: `cargo test`; see `test/tally.rs`.

use serde_json::Value;

use crate::workspace::Outcome;

/// The counted lines of one run.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    failures: Vec<String>,
    notes: Vec<String>,
    sum: Option<Value>,
    succeeded: bool,
}

impl Tally {
    /// Takes a line, and says whether it is for people.
    pub fn take(&mut self, line: &str) -> bool {
        match line.split_once(' ') {
            Some(("ok", _)) => self.passed += 1,
            Some(("FAIL", rest)) => self.failures.push(rest.to_owned()),
            Some(("note", rest)) => self.notes.push(rest.to_owned()),
            _ => {
                if let Some(sum) = serde_json::from_str(line).ok().filter(Value::is_object) {
                    self.sum = Some(sum);
                    return false;
                }
            }
        }
        true
    }

    /// Takes the suite's end.
    pub fn ended(&mut self, succeeded: bool) {
        self.succeeded = succeeded;
    }

    /// Returns the closing report.
    pub fn report(&self) -> String {
        let mut text = format!("\n{} passed, {} failed\n", self.passed, self.failures.len());
        for (word, lines) in [("note", &self.notes), ("FAIL", &self.failures)] {
            for line in lines {
                text.push_str(&format!("{word:<6} {line}\n"));
            }
        }
        text
    }

    /// Says whether the run proves something: nothing failed, and nothing is missing.
    pub fn verdict(&self, expected: usize) -> Outcome {
        let (passed, failed) = (self.passed, self.failures.len());
        if failed > 0 {
            return Err(format!("{failed} of {} checks failed", passed + failed));
        }
        let Some(sum) = &self.sum else { return Err("the suite broke off before its end".into()) };
        if sum["passed"] != passed || sum["failed"] != failed || !self.succeeded {
            return Err(format!("the suite's own sum is {sum}, which its lines or its exit code do not bear out"));
        }
        match passed {
            _ if passed < expected => Err(format!("only {passed} checks ran; there should be {expected}")),
            _ if passed > expected => Err(format!("{passed} checks ran; write that down in place of {expected}")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str], succeeded: bool) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.take(line);
        }
        tally.ended(succeeded);
        tally
    }

    #[test]
    fn lines_sum_and_exit_code_have_to_agree() {
        let sum = r#"{"passed":2,"failed":0}"#;
        let good = ["ok a", "note b", "ok c", sum];
        tally(&good, true).verdict(2).unwrap();
        assert!(tally(&good, false).verdict(2).unwrap_err().contains("exit code"));
        assert!(tally(&["ok a", sum], true).verdict(1).unwrap_err().contains("own sum"));
        assert!(tally(&["ok a", "ok c"], true).verdict(2).unwrap_err().contains("broke off"));
        assert!(!Tally::default().take(sum), "the sum is not for people");
    }

    #[test]
    fn a_failure_and_a_missing_check_fail_the_run() {
        let failed = tally(&["ok a", "FAIL b: why", r#"{"passed":1,"failed":1}"#], false);
        assert_eq!(failed.verdict(2).unwrap_err(), "1 of 2 checks failed");
        assert_eq!(failed.report(), "\n1 passed, 1 failed\nFAIL   b: why\n");
        let short = tally(&["ok a", r#"{"passed":1,"failed":0}"#], true);
        assert!(short.verdict(2).unwrap_err().contains("only 1"));
        assert!(short.verdict(0).unwrap_err().contains("in place of 0"));
    }
}
