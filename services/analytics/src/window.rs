//! The days that figures are about, and how many rows an answer has: read from a query and checked. Not
//! for what is counted.

use contracts::Day;
use kernel::{Error, Result, Timestamp};

/// How many days a window has unless both ends are said.
const USUAL: i64 = 30;
/// How many days a window may have: ten years.
const LONGEST: i64 = 3_660;
const MOST_ROWS: u64 = 100;
const USUAL_ROWS: u64 = 10;

/// Days of UTC, both ends too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub from: Day,
    pub to: Day,
}

impl Window {
    /// Returns the window that is asked for: up to today unless said, thirty days long unless said.
    pub fn read(from: Option<Day>, to: Option<Day>, now: Timestamp) -> Result<Self> {
        let to = to.unwrap_or_else(|| Day::of(now));
        let from = match from {
            Some(from) => from,
            None => to.later(1 - USUAL).ok_or_else(|| wrong("to", "must be later"))?,
        };
        let window = Self { from, to };
        match window.days() {
            ..=0 => Err(wrong("from", "must not be after `to`")),
            days if days > LONGEST => Err(wrong("from", format!("must be at most {LONGEST} days before `to`"))),
            _ => Ok(window),
        }
    }

    /// Returns how many days it has.
    pub fn days(self) -> i64 {
        self.to.number() - self.from.number() + 1
    }
}

/// Returns how many rows are asked for.
pub(crate) fn rows(limit: Option<u64>) -> Result<u64> {
    match limit.unwrap_or(USUAL_ROWS) {
        rows @ 1..=MOST_ROWS => Ok(rows),
        _ => Err(wrong("limit", format!("must be from 1 to {MOST_ROWS}"))),
    }
}

fn wrong(field: &'static str, why: impl Into<String>) -> Error {
    Error::invalid("request.invalid_query", "the query is not valid").field(field, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: Option<&str>, to: Option<&str>) -> Option<(String, String, i64)> {
        let day = |text: &str| Day::parse(text).expect("a day");
        let now = Timestamp::parse("2026-11-21T23:59:59Z").expect("a time");
        let window = Window::read(from.map(day), to.map(day), now).ok()?;
        Some((window.from.to_string(), window.to.to_string(), window.days()))
    }

    #[test]
    fn a_window_ends_today_and_has_thirty_days_unless_said() {
        let of = |from: &str, to: &str, days| Some((from.to_owned(), to.to_owned(), days));
        assert_eq!(window(None, None), of("2026-10-23", "2026-11-21", 30));
        assert_eq!(window(Some("2026-11-21"), None), of("2026-11-21", "2026-11-21", 1));
        assert_eq!(window(None, Some("1997-01-30")), of("1997-01-01", "1997-01-30", 30));
        assert_eq!(window(Some("2016-11-14"), None), of("2016-11-14", "2026-11-21", 3_660));
        assert_eq!(window(Some("2016-11-13"), None), None);
        assert_eq!(window(Some("2026-11-22"), None), None);
        assert_eq!(window(None, Some("0000-01-05")), None, "there is no day before year 0");
        assert_eq!(window(Some("0000-01-01"), Some("9999-12-31")), None);
    }

    #[test]
    fn ten_rows_unless_said_and_a_hundred_at_most() {
        let read = |limit| rows(limit).ok();
        assert_eq!((read(None), read(Some(1)), read(Some(100))), (Some(10), Some(1), Some(100)));
        assert_eq!((read(Some(0)), read(Some(101)), read(Some(u64::MAX))), (None, None, None));
    }
}
