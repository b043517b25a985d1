//! The hours in which letters wait, in the zone that a person or a tenant lives in, through every
//! change to summer time. Not for the app, whose list disturbs nobody.

use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use kernel::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Hours in which letters wait: from one time of day to another, over midnight where it comes earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuietHours {
    /// When they begin, such as `22:00`.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    pub from: String,
    /// When they end, such as `07:00`.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    pub to: String,
    /// The IANA time zone; the organisation's unless said.
    #[serde(default)]
    pub time_zone: Option<String>,
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| -> Option<i8> {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" { Some(TimeZone::UTC) } else { TimeZone::get(name).ok() }
}

impl QuietHours {
    /// Says what is wrong with them, if anything: the field and why.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str)> {
        match (time(&self.from), time(&self.to)) {
            (None, _) => Some(("quietHours.from", "must be a time of day, such as 22:00")),
            (_, None) => Some(("quietHours.to", "must be a time of day, such as 07:00")),
            (from, to) if from == to => Some(("quietHours.to", "must not be when they begin")),
            _ if self.time_zone.as_deref().is_some_and(|name| zone(name).is_none()) => {
                Some(("quietHours.timeZone", "must be an IANA time zone, such as Europe/Copenhagen"))
            }
            _ => None,
        }
    }

    /// Returns for how long it is still quiet, if it is quiet now; `home` is the tenant's zone.
    pub(crate) fn left(&self, now: Timestamp, home: &str) -> Option<Duration> {
        let (from, to) = (time(&self.from)?, time(&self.to)?);
        let zone = self.time_zone.as_deref().and_then(zone).or_else(|| zone(home)).unwrap_or(TimeZone::UTC);
        let moment = jiff::Timestamp::from_microsecond(now.0).ok()?;
        let here = moment.to_zoned(zone.clone());
        let clock = here.time();
        let quiet = if from < to { from <= clock && clock < to } else { clock >= from || clock < to };
        if !quiet {
            return None;
        }
        let today = here.date();
        let day = if clock < to { today } else { today.tomorrow().ok()? };
        // A time that summer time skips is taken an hour later, one that comes twice the first time.
        let end = day.to_datetime(to).to_zoned(zone).ok()?.timestamp();
        let micros = u64::try_from(end.as_microsecond() - now.0).ok()?;
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: &str, to: &str, time_zone: Option<&str>) -> QuietHours {
        QuietHours { from: from.to_owned(), to: to.to_owned(), time_zone: time_zone.map(str::to_owned) }
    }

    fn until(hours: &QuietHours, now: &str) -> Option<String> {
        let now = Timestamp::parse(now).expect("a time");
        hours.left(now, "UTC").map(|left| now.plus(left).to_string()[..16].to_owned())
    }

    #[test]
    fn they_go_over_midnight_and_live_in_their_zone() {
        let night = hours("22:00", "07:00", Some("Asia/Bangkok"));
        assert_eq!(until(&night, "2026-11-21T14:59:59Z"), None);
        assert_eq!(until(&night, "2026-11-21T15:00:00Z").as_deref(), Some("2026-11-22T00:00"));
        assert_eq!(until(&night, "2026-11-21T23:59:59Z").as_deref(), Some("2026-11-22T00:00"));
        assert_eq!(until(&night, "2026-11-22T00:00:00Z"), None);
        let noon = hours("12:00", "13:30", None);
        assert_eq!(until(&noon, "2026-11-21T12:10:00Z").as_deref(), Some("2026-11-21T13:30"));
        assert_eq!(until(&noon, "2026-11-21T13:30:00Z"), None);
        let home = noon.left(Timestamp::parse("2026-11-21T11:10:00Z").expect("a time"), "Europe/Copenhagen");
        assert_eq!(home, Some(Duration::from_secs(80 * 60)), "the organisation's zone where none is said");
    }

    #[test]
    fn summer_time_shortens_and_lengthens_the_night() {
        let night = hours("22:00", "07:00", Some("Europe/Berlin"));
        assert_eq!(until(&night, "2026-03-28T21:00:00Z").as_deref(), Some("2026-03-29T05:00"));
        assert_eq!(until(&night, "2026-10-24T20:00:00Z").as_deref(), Some("2026-10-25T06:00"));
        // Half past two does not exist in that night.
        let gap = hours("22:00", "02:30", Some("Europe/Berlin"));
        assert_eq!(until(&gap, "2026-03-28T23:00:00Z").as_deref(), Some("2026-03-29T01:30"));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(hours("22:00", "07:00", Some("Europe/Berlin")).fault(), None);
        for (from, to, zone, field) in [
            ("24:00", "07:00", None, "quietHours.from"),
            ("7:00", "08:00", None, "quietHours.from"),
            ("+1:00", "08:00", None, "quietHours.from"),
            ("22:00", "", None, "quietHours.to"),
            ("22:00", "22:00", None, "quietHours.to"),
            ("22:00", "07:00", Some("Mars/Olympus"), "quietHours.timeZone"),
            ("22:00", "07:00", Some("../etc/passwd"), "quietHours.timeZone"),
        ] {
            assert_eq!(hours(from, to, zone).fault().map(|fault| fault.0), Some(field), "{from} {to} {zone:?}");
        }
    }
}
