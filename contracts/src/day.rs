//! A calendar day, `YYYY-MM-DD`. Which time zone it is a day of is said where it is used. Not for
//! moments: those are `kernel::Timestamp`.

use std::fmt;

use jiff::civil::Date;
use kernel::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};

const SECONDS: i64 = 86_400;

/// A day of the Gregorian calendar, from year 0 to 9999: how many days after 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// Returns the day of UTC that this moment is in.
    pub fn of(moment: Timestamp) -> Self {
        Self(moment.seconds().div_euclid(SECONDS))
    }

    /// Reads `YYYY-MM-DD` and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            |byte: &u8, place: usize| if matches!(place, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() };
        if text.len() != 10 || !text.as_bytes().iter().enumerate().all(|(place, byte)| digits(byte, place)) {
            return None;
        }
        let (year, month, day) = (text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?);
        let date = Date::new(year, month, day).ok()?;
        let since = date.duration_since(epoch());
        Some(Self(since.as_secs().div_euclid(SECONDS)))
    }

    /// Returns how many days after 1970-01-01 it is.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// Returns the day `days` later, unless that is past year 9999.
    pub fn later(self, days: i64) -> Option<Self> {
        let later = Self(self.0.checked_add(days)?);
        later.date().map(|_| later)
    }

    fn date(self) -> Option<Date> {
        let span = jiff::Span::new().try_days(self.0).ok()?;
        epoch().checked_add(span).ok().filter(|date| date.year() >= 0)
    }
}

fn epoch() -> Date {
    jiff::civil::date(1970, 1, 1)
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a day must look like 2026-01-31"))
    }
}
impl utoipa::PartialSchema for Day {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))
            .examples(["2026-01-31"])
            .into()
    }
}
impl utoipa::ToSchema for Day {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_and_read_as_dates() {
        for (number, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_778, "2026-11-21"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(Day::parse(text), Some(Day(number)), "{text}");
            assert_eq!(Day(number).to_string(), text);
        }
        assert_eq!(Day::of(Timestamp(-1)), Day(-1));
        assert_eq!(Day::of(Timestamp::parse("2026-11-21T23:59:59.999999Z").expect("a time")), Day(20_778));
        assert_eq!(Day(0).later(59).map(|day| day.to_string()).as_deref(), Some("1970-03-01"));
        assert_eq!(Day(2_932_896).later(1), None);
        assert_eq!(Day(0).later(i64::MAX), None);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-02-30",
            "2026-13-01",
            "2026-1-01",
            "20260101",
            "2026-01-01T00:00:00Z",
            "+026-01-01",
            "2026/01/01",
            "２026-01-0",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }
}
