//! When keys are fetched because a token names one that is not known: one fetch at a time, one in a
//! window, and what was looked for in vain is not looked for again at once. A state machine that is told
//! the time. Not for the fetches that a timer asks for, save that they count as answers.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How many names are remembered that no key has.
const ABSENT: usize = 1024;

/// What somebody who misses a key does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start a fetch, which is now said to run.
    Fetch,
    /// Wait for the fetch that runs.
    Wait,
    /// Ask again after this time.
    Later(Duration),
    /// Look once more: a fetch that began later than the question has ended, so the answer is final.
    Absent,
    /// The issuer could not be asked.
    Failed,
}

/// The memory behind it.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Duration,
    /// When the last fetch for a token began.
    asked: Option<Instant>,
    /// When the fetch began that runs.
    running: Option<Instant>,
    /// When the last fetch began that brought keys, and the last that did not.
    brought: Option<Instant>,
    failed: Option<Instant>,
    absent: HashMap<Box<str>, Instant>,
    order: VecDeque<(Box<str>, Instant)>,
}

impl Pace {
    /// Returns one that has seen nothing.
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            asked: None,
            running: None,
            brought: None,
            failed: None,
            absent: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Says what to do about a missing key, asked for since `arrived`; no name means any key at all.
    pub(crate) fn step(&mut self, name: Option<&str>, arrived: Instant, now: Instant) -> Step {
        if let Some(name) = name {
            if self.absent.get(name).is_some_and(|since| now.saturating_duration_since(*since) < self.window) {
                return Step::Absent;
            }
            // One that began earlier may have seen the issuer before it had the key.
            if self.brought.is_some_and(|began| began >= arrived) {
                self.remember(name, now);
                return Step::Absent;
            }
        }
        if self.running.is_some() {
            return Step::Wait;
        }
        if self.failed.is_some_and(|began| began >= arrived) {
            return Step::Failed;
        }
        match self.asked.map(|asked| (asked + self.window).saturating_duration_since(now)) {
            Some(left) if !left.is_zero() => Step::Later(left),
            _ => {
                self.asked = Some(now);
                self.running = Some(now);
                Step::Fetch
            }
        }
    }

    /// Begins a fetch that a timer asks for, unless one runs.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let free = self.running.is_none();
        if free {
            self.running = Some(now);
        }
        free
    }

    /// Ends the fetch that runs.
    pub(crate) fn end(&mut self, brought: bool) {
        let began = self.running.take();
        if brought {
            self.brought = began;
            self.failed = None;
        } else {
            self.failed = began;
        }
    }

    fn remember(&mut self, name: &str, now: Instant) {
        while let Some((oldest, since)) = self.order.front() {
            if self.order.len() < ABSENT && now.saturating_duration_since(*since) < self.window {
                break;
            }
            // Remembered again since then, it is another entry's to forget.
            if self.absent.get(oldest) == Some(since) {
                self.absent.remove(oldest);
            }
            self.order.pop_front();
        }
        self.absent.insert(name.into(), now);
        self.order.push_back((name.into(), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    struct Time(Instant);

    impl Time {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    fn start() -> (Pace, Time) {
        (Pace::new(WINDOW), Time(Instant::now()))
    }

    #[test]
    fn the_first_fetches_and_the_others_wait_for_it() {
        let (mut pace, time) = start();
        assert_eq!(pace.step(Some("a"), time.at(0), time.at(0)), Step::Fetch);
        assert_eq!(pace.step(Some("a"), time.at(0), time.at(0)), Step::Wait);
        assert_eq!(pace.step(Some("b"), time.at(1), time.at(1)), Step::Wait);
        assert!(!pace.begin(time.at(1)), "a timer waits too");
        pace.end(true);
        assert_eq!(pace.step(Some("a"), time.at(0), time.at(2)), Step::Absent, "the fetch began with the question");
        assert_eq!(pace.step(Some("b"), time.at(1), time.at(2)), Step::Later(Duration::from_secs(8)));
        assert_eq!(pace.step(Some("b"), time.at(1), time.at(10)), Step::Fetch);
    }

    #[test]
    fn a_flood_of_names_causes_one_fetch_in_a_window() {
        let (mut pace, time) = start();
        let mut fetches = 0;
        for millis in 0..60_000 {
            let now = time.0 + Duration::from_millis(millis);
            if pace.step(Some(&format!("kid-{millis}")), now, now) == Step::Fetch {
                fetches += 1;
                pace.end(true);
            }
            assert!(pace.absent.len() <= ABSENT && pace.order.len() <= ABSENT);
        }
        assert_eq!(fetches, 6);
    }

    #[test]
    fn what_was_looked_for_in_vain_is_absent_for_a_window() {
        let (mut pace, time) = start();
        pace.step(Some("a"), time.at(0), time.at(0));
        pace.end(true);
        assert_eq!(pace.step(Some("a"), time.at(0), time.at(1)), Step::Absent);
        assert_eq!(pace.step(Some("a"), time.at(10), time.at(10)), Step::Absent, "remembered at 1");
        assert_eq!(pace.step(Some("a"), time.at(11), time.at(11)), Step::Fetch);
    }

    #[test]
    fn names_beyond_the_bound_push_out_the_oldest() {
        let (mut pace, time) = start();
        pace.begin(time.at(1));
        pace.end(true);
        for n in 0..=ABSENT {
            assert_eq!(pace.step(Some(&n.to_string()), time.at(0), time.at(2)), Step::Absent);
        }
        assert_eq!((pace.absent.len(), pace.order.len()), (ABSENT, ABSENT));
        assert!(!pace.absent.contains_key("0") && pace.absent.contains_key("1"));
    }

    #[test]
    fn a_timers_fetch_is_an_answer_and_takes_nobodys_turn() {
        let (mut pace, time) = start();
        assert!(pace.begin(time.at(0)));
        assert_eq!(pace.step(Some("a"), time.at(1), time.at(1)), Step::Wait);
        pace.end(true);
        assert_eq!(pace.step(Some("a"), time.at(1), time.at(2)), Step::Fetch, "that one had begun before");
    }

    #[test]
    fn an_issuer_that_is_away_is_asked_once_in_a_window() {
        let (mut pace, time) = start();
        assert_eq!(pace.step(None, time.at(0), time.at(0)), Step::Fetch);
        pace.end(false);
        assert_eq!(pace.step(None, time.at(0), time.at(1)), Step::Failed);
        assert_eq!(pace.step(Some("a"), time.at(0), time.at(1)), Step::Failed, "not known to be absent");
        assert_eq!(pace.step(None, time.at(2), time.at(2)), Step::Later(Duration::from_secs(8)));
        assert_eq!(pace.step(None, time.at(2), time.at(10)), Step::Fetch);
        pace.end(true);
        assert_eq!(pace.step(Some("a"), time.at(11), time.at(11)), Step::Later(Duration::from_secs(9)));
    }
}
