//! Keeps a flood of the same refusal from flooding the log: the first of a second is written, the
//! others are counted, and the next line says how many. Not for errors of ours, which are all written.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often one code is written.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Quiet(Mutex<Option<HashMap<&'static str, Seen>>>);

struct Seen {
    written: Instant,
    left_out: u64,
}

impl Quiet {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Says whether to write this one, and how many were left out since the last.
    pub(crate) fn lets(&self, code: &'static str, now: Instant) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.get_or_insert_default();
        match seen.get_mut(code) {
            Some(known) if now.saturating_duration_since(known.written) < PAUSE => {
                known.left_out += 1;
                None
            }
            Some(known) => {
                known.written = now;
                Some(std::mem::take(&mut known.left_out))
            }
            None => {
                seen.insert(code, Seen { written: now, left_out: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_code_tells_of_the_others() {
        let (quiet, start) = (Quiet::new(), Instant::now());
        assert_eq!(quiet.lets("a", start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(quiet.lets("a", start + PAUSE / 2), None);
        }
        assert_eq!(quiet.lets("b", start + PAUSE / 2), Some(0), "another code is news");
        assert_eq!(quiet.lets("a", start + PAUSE), Some(1_000));
        assert_eq!(quiet.lets("a", start + PAUSE * 3), Some(0));
    }
}
