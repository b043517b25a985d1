//! What one subject of one budget has used and reserved. Plain arithmetic with a clock that is passed in; not for
//! who asks.

use kernel::Timestamp;

use crate::ledger::Period;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 86_400_000_000;

/// An account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) used: i64,
    pub(crate) reserved: i64,
    /// The day or month that `used` belongs to; for a rate, when it was last looked at.
    at: i64,
}

/// Names the period that a moment lies in.
fn period_at(period: Period, now: Timestamp) -> i64 {
    let day = now.0.div_euclid(DAY);
    match period {
        Period::Minute => now.0,
        Period::Day => day,
        Period::Month => month(day),
        Period::Total => 0,
    }
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
    pub(crate) fn new(period: Period, now: Timestamp) -> Self {
        Self { used: 0, reserved: 0, at: period_at(period, now) }
    }

    /// Forgets what no longer counts.
    pub(crate) fn roll(&mut self, period: Period, limit: i64, now: Timestamp) {
        let here = period_at(period, now);
        if period == Period::Minute {
            let passed = here.saturating_sub(self.at).clamp(0, MINUTE);
            let worn = i128::from(limit) * i128::from(passed) / i128::from(MINUTE);
            // What is too little to wear off a whole unit waits for more time to pass.
            if worn > 0 || self.used <= 0 {
                self.used = self.used.saturating_sub(i64::try_from(worn).unwrap_or(i64::MAX)).max(0);
                self.at = here;
            }
        } else if here > self.at {
            (self.used, self.at) = (0, here);
        }
    }

    /// Returns what is left.
    pub(crate) fn left(&self, limit: i64) -> i64 {
        limit.saturating_sub(self.used).saturating_sub(self.reserved).max(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0 && self.reserved == 0
    }
}

/// Returns in how many seconds a period gives something back; nothing where it never does.
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
            ("2000-02-29T12:00:00Z", "2000-03-01T00:00:00Z"),
            ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(number(last) + 1, number(first), "{last}");
        }
        assert_eq!(number("2026-11-01T00:00:00Z"), number("2026-11-30T23:59:59Z"));
    }

    #[test]
    fn a_day_ends_and_a_total_does_not() {
        for (period, after) in [(Period::Day, 0), (Period::Month, 5), (Period::Total, 5)] {
            let mut account = Account::new(period, at("2026-11-21T23:00:00Z"));
            (account.used, account.reserved) = (5, 2);
            account.roll(period, 10, at("2026-11-21T23:59:59Z"));
            assert_eq!(account.left(10), 3);
            account.roll(period, 10, at("2026-11-22T00:00:00Z"));
            assert_eq!((account.used, account.reserved), (after, 2), "{period:?}");
            // A clock that is set back brings nothing back.
            account.used = 9;
            account.roll(period, 10, at("2026-11-21T00:00:00Z"));
            assert_eq!(account.used, 9);
        }
    }

    #[test]
    fn a_rate_wears_off_evenly() {
        let start = at("2026-11-21T12:00:00Z");
        let mut account = Account::new(Period::Minute, start);
        account.used = 600;
        for second in 1..=30 {
            account.roll(Period::Minute, 600, Timestamp(start.0 + second * 1_000_000));
            assert_eq!(account.used, 600 - 10 * second);
        }
        account.roll(Period::Minute, 600, Timestamp(start.0 + 3_600_000_000));
        assert_eq!(account.used, 0);
        // Looked at often, a small rate wears off all the same.
        let mut slow = Account::new(Period::Minute, start);
        slow.used = 1;
        for step in 1..=120 {
            slow.roll(Period::Minute, 1, Timestamp(start.0 + step * 500_000));
        }
        assert_eq!(slow.used, 0);
    }
}
