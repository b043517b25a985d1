//! What was used and reserved of an allowance in a period. Plain arithmetic with a clock that is passed in. Not for
//! whose it is, and not for keeping it.

use jiff::tz::TimeZone;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 86_400_000_000;

/// How long what was used counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, EnumIter, DeriveActiveEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = UsageBudgetPeriod)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Period {
    /// It wears off evenly over a minute: a rate.
    Minute,
    /// A day of UTC.
    Day,
    /// A month of UTC.
    Month,
    /// For ever.
    Total,
}

impl Period {
    /// Names the period that a moment lies in: a rate has moments, a day and a month a number.
    pub fn at(self, now: Timestamp) -> i64 {
        match self {
            Self::Minute => now.0,
            Self::Day => now.0.div_euclid(DAY),
            Self::Month => month(now),
            Self::Total => 0,
        }
    }

    /// Returns in how many seconds it gives something back; nothing where that is not worth waiting for.
    pub fn seconds_left(self, now: Timestamp) -> Option<u32> {
        let left = match self {
            Self::Minute => 10,
            Self::Day => (DAY - now.0.rem_euclid(DAY)).div_euclid(1_000_000) + 1,
            Self::Month | Self::Total => return None,
        };
        u32::try_from(left).ok()
    }
}

/// Returns the number of the month.
fn month(now: Timestamp) -> i64 {
    let moment = jiff::Timestamp::from_microsecond(now.0).unwrap_or_default();
    let date = moment.to_zoned(TimeZone::UTC).date();
    i64::from(date.year()) * 12 + i64::from(date.month())
}

/// What was used and reserved of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// What was used in the period.
    pub used: i64,
    /// What is held for what goes on.
    pub reserved: i64,
    /// The day or month that `used` belongs to; of a rate, when it was last looked at.
    pub at: i64,
}

impl Account {
    /// Returns an account that nothing was used of.
    pub fn new(period: Period, now: Timestamp) -> Self {
        Self { used: 0, reserved: 0, at: period.at(now) }
    }

    /// Forgets what no longer counts.
    pub fn roll(&mut self, period: Period, most: i64, now: Timestamp) {
        let here = period.at(now);
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

    /// Returns what is left of so much.
    pub fn left(&self, most: i64) -> i64 {
        most.saturating_sub(self.used).saturating_sub(self.reserved).max(0)
    }

    /// Says whether what was entered at this moment still counts.
    pub fn counts(&self, period: Period, entered: Timestamp, now: Timestamp) -> bool {
        match period {
            Period::Minute => now.0.saturating_sub(entered.0) < MINUTE,
            other => other.at(entered) == self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let number = |text| Period::Month.at(at(text));
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
