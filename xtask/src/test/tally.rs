//! Adds up the closing lines of test runners.
//!
//! For: one total over nextest, unit tests and examples, since the last runner's own line would
//! only tell about itself. Not for: deciding whether the run passed; the exit codes do.

use std::fmt;

/// How many tests did what.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    /// Adds a line if it is `cargo test`'s closing line.
    pub fn read_libtest(&mut self, line: &str) {
        // test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; finished in 0.00s
        if let Some(rest) = plain(line).trim().strip_prefix("test result: ") {
            rest.split(['.', ';']).for_each(|part| self.add(part));
        }
    }

    /// Adds a line if it is nextest's closing line. It shows the output of failed tests, with
    /// libtest's own closing lines in it; those must not count again.
    pub fn read_nextest(&mut self, line: &str) {
        // Summary [ 0.010s] 4 tests run: 3 passed (1 slow), 1 timed out, 2 skipped
        if let Some((head, rest)) = plain(line).split_once(" run: ")
            && head.trim().starts_with("Summary [")
        {
            without_parentheses(rest).split(',').for_each(|part| self.add(part));
        }
    }

    /// Returns how many tests were really run.
    pub fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    fn add(&mut self, part: &str) {
        let Some((number, what)) = part.trim().split_once(' ') else {
            return;
        };
        let Ok(number) = number.parse::<u64>() else {
            return;
        };
        match what {
            "passed" => self.passed += number,
            "failed" | "timed out" | "exec failed" => self.failed += number,
            "skipped" | "ignored" => self.skipped += number,
            _ => {}
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(formatter, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// A line without the terminal's colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for letter in line.chars() {
        match letter {
            '\u{1b}' => inside = true,
            'a'..='z' | 'A'..='Z' if inside => inside = false,
            _ if inside => {}
            _ => text.push(letter),
        }
    }
    text
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_i32;
    text.chars()
        .filter(|letter| {
            let before = depth;
            depth += i32::from(*letter == '(') - i32::from(*letter == ')');
            before == 0 && depth == 0
        })
        .collect::<String>()
        .replace(" ,", ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBTEST: &str = "test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; \
                           2 filtered out; finished in 0.00s";
    const NEXTEST: &str = "     Summary [   0.010s] 5 tests run: 3 passed (1 slow, 1 flaky), \
                           1 failed, 1 timed out, 2 skipped";

    #[test]
    fn each_runner_has_its_own_closing_line() {
        let mut tally = Tally::default();
        tally.read_libtest(LIBTEST);
        tally.read_libtest(NEXTEST);
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 1 skipped");
        tally.read_nextest(NEXTEST);
        tally.read_nextest(LIBTEST);
        assert_eq!(tally.to_string(), "6 passed, 3 failed, 3 skipped");
    }

    #[test]
    fn colours_do_not_matter_and_other_lines_are_left_alone() {
        let mut tally = Tally::default();
        let bold = |text: &str| format!("\u{1b}[32;1m{text}\u{1b}[0m");
        let (summary, two) = (bold("     Summary"), bold("2"));
        tally.read_nextest(&format!("{summary} [ 0.01s] {two} tests run: {two} {}", bold("passed")));
        tally.read_nextest("PASS [   0.003s] xtask a run: 3 failed");
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 0 skipped");
    }
}
