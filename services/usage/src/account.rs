//! What one subject of one budget has used and reserved. Plain arithmetic with a clock that is passed in. Not for
//! who asks, and not for rows: see `counter`.

use kernel::Timestamp;

use crate::call::Period;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 86_400_000_000;

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub used: i64,
    pub reserved: i64,
    /// The day or month that `used` belongs to; of a rate, when it was last looked at.
    pub at: i64,
}

/// Names the period that a moment lies in.
pub(crate) fn period_at(period: Period, now: Timestamp) -> i64 {
    let day = now.0.div_euclid(DAY);
    match period {
        Period::Minute => now.0,
        Period::Day => day,
        Period::Month => month(day),
        Period::Total => 0,
    }
}

/// Names the time in which people are told once: of a rate a day, for it comes back within a minute.
pub(crate) fn telling_at(period: Period, now: Timestamp) -> i64 {
    period_at(if period == Period::Minute { Period::Day } else { period }, now)
}

/// Returns the number of the month that a day since 1970 lies in (Howard Hinnant's `civil_from_days`).
fn month(day: i64) -> i64 {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + from_march + 2
}

impl Account {
    pub fn new(period: Period, now: Timestamp) -> Self {
        Self { used: 0, reserved: 0, at: period_at(period, now) }
    }

    /// Forgets what no longer counts.
    pub fn roll(&mut self, period: Period, most: i64, now: Timestamp) {
        let here = period_at(period, now);
        if period == Period::Minute {
            let passed = here.saturating_sub(self.at).clamp(0, MINUTE);
            let worn = i128::from(most) * i128::from(passed) / i128::from(MINUTE);
            // What is too little to wear off a whole unit waits for more time to pass.
            if worn > 0 || self.used <= 0 {
                self.used = self.used.saturating_sub(i64::try_from(worn).unwrap_or(i64::MAX)).max(0);
                self.at = self.at.max(here);
            }
        } else if here > self.at {
            (self.used, self.at) = (0, here);
        }
    }

    /// Returns what is left.
    pub fn left(&self, most: i64) -> i64 {
        most.saturating_sub(self.used).saturating_sub(self.reserved).max(0)
    }

    /// Says whether what was entered at this moment still counts.
    pub fn counts(&self, period: Period, entered: Timestamp, now: Timestamp) -> bool {
        match period {
            Period::Minute => now.0.saturating_sub(entered.0) < MINUTE,
            other => period_at(other, entered) == self.at,
        }
    }
}

/// Returns in how many seconds a period gives something back; nothing where that is not worth waiting for.
pub(crate) fn seconds_left(period: Period, now: Timestamp) -> Option<u32> {
    let left = match period {
        Period::Minute => 10,
        Period::Day => (DAY - now.0.rem_euclid(DAY)).div_euclid(1_000_000) + 1,
        Period::Month | Period::Total => return None,
    };
    u32::try_from(left).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let number = |text| period_at(Period::Month, at(text));
        for (last, first) in [
            ("2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"),
            ("2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z"),
            ("2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(number(last) + 1, number(first), "{last}");
        }
        assert_eq!(number("2026-11-01T00:00:00Z"), number("2026-11-30T23:59:59Z"));
    }

    #[test]
    fn a_period_ends_what_was_used_and_not_what_is_reserved() {
        for (period, after) in [(Period::Day, 0), (Period::Month, 5), (Period::Total, 5)] {
            let mut account = Account::new(period, at("2026-11-21T23:00:00Z"));
            (account.used, account.reserved) = (5, 2);
            account.roll(period, 10, at("2026-11-21T23:59:59Z"));
            assert_eq!(account.left(10), 3);
            account.roll(period, 10, at("2026-11-22T00:00:00Z"));
            assert_eq!((account.used, account.reserved), (after, 2), "{period:?}");
            account.used = 9;
            account.roll(period, 10, at("2026-11-21T00:00:00Z"));
            assert_eq!(account.used, 9, "a clock that is set back brings nothing back");
        }
    }

    #[test]
    fn a_rate_wears_off_evenly_however_often_it_is_looked_at() {
        let start = at("2026-11-21T12:00:00Z");
        let mut account = Account { used: 600, ..Account::new(Period::Minute, start) };
        for second in 1..=30 {
            account.roll(Period::Minute, 600, Timestamp(start.0 + second * 1_000_000));
            assert_eq!(account.used, 600 - 10 * second);
        }
        let mut slow = Account { used: 1, ..Account::new(Period::Minute, start) };
        for step in 1..=120 {
            slow.roll(Period::Minute, 1, Timestamp(start.0 + step * 500_000));
        }
        assert_eq!(slow.used, 0);
    }

    #[test]
    fn what_was_entered_counts_for_its_period() {
        let (evening, night) = (at("2026-11-30T23:00:00Z"), at("2026-12-01T01:00:00Z"));
        for (period, counts) in
            [(Period::Minute, false), (Period::Day, false), (Period::Month, false), (Period::Total, true)]
        {
            let mut account = Account::new(period, evening);
            assert!(account.counts(period, evening, evening), "{period:?}");
            account.roll(period, 10, night);
            assert_eq!(account.counts(period, evening, night), counts, "{period:?}");
        }
    }
}
