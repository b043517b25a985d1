//! Reads and writes the dates of HTTP (RFC 9110 section 5.6.7). Not for the clock, and not for dates in bodies.

use http::HeaderValue;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns the seconds since 1970 of a date in any of the three forms; `None` where it is none of them.
pub(crate) fn parse(value: &HeaderValue) -> Option<i64> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    match text.split_once(',') {
        // Sun, 06 Nov 1994 08:49:37 GMT
        Some((_, rest)) if rest.len() == 25 && rest.starts_with(' ') => {
            let mut parts = rest[1..].split(' ');
            let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let year = (year.len() == 4).then(|| number(year))??;
            zone(parts.next(), parts.next())?;
            moment(year, month, number(day)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        Some((_, rest)) if rest.starts_with(' ') => {
            let mut parts = rest[1..].split(' ');
            let (date, time) = (parts.next()?, parts.next()?);
            zone(parts.next(), parts.next())?;
            let mut date = date.split('-');
            let (day, month, year) = (date.next()?, date.next()?, date.next()?);
            let year = (year.len() == 2 && date.next().is_none()).then(|| number(year))??;
            // More than 50 years ahead means the century before; the table of centuries moves in 2027 plus 50.
            moment(if year < 77 { 2000 + year } else { 1900 + year }, month, number(day)?, time)
        }
        Some(_) => None,
        // Sun Nov  6 08:49:37 1994
        None => {
            let mut parts = text.split(' ').filter(|part| !part.is_empty());
            let (_, month, day) = (parts.next()?, parts.next()?, parts.next()?);
            let (time, year) = (parts.next()?, parts.next()?);
            let whole = parts.next().is_none() && year.len() == 4;
            moment(whole.then(|| number(year))??, month, number(day)?, time)
        }
    }
}

/// Writes a moment in the preferred form.
pub(crate) fn format(seconds: i64) -> HeaderValue {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days + 4).rem_euclid(7) as usize],
        MONTHS[month as usize - 1],
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    );
    HeaderValue::try_from(text).expect("a date is ASCII")
}

fn zone(name: Option<&str>, more: Option<&str>) -> Option<()> {
    (more.is_none() && name?.eq_ignore_ascii_case("GMT")).then_some(())
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn moment(year: i64, month: &str, day: i64, time: &str) -> Option<i64> {
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? as i64 + 1;
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let two = [hour, minute, second].iter().all(|part| part.len() == 2) && parts.next().is_none();
    let (hour, minute, second) = (number(hour)?, number(minute)?, number(second)?);
    // A leap second is let in.
    let sane = two && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    sane.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Returns the days since 1970 of a Gregorian date, in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<i64> {
        parse(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn the_three_forms_are_the_same_moment() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(read(text), Some(784_111_777), "{text}");
        }
        assert_eq!(read("Thursday, 18-Aug-50 02:01:18 GMT").map(|seconds| seconds > 2_000_000_000), Some(true));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for seconds in [0, 784_111_777, 951_782_400, 4_102_444_799, 68_169_600] {
            assert_eq!(parse(&format(seconds)), Some(seconds));
        }
        assert_eq!(format(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn nothing_else_is_a_date() {
        for text in [
            "0",
            "",
            "-1",
            "foo",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 32 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 25:01:18 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            ", ",
            "Sun,",
            "é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
