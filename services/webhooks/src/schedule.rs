//! When to try again, and until when. Not for the queue's own retries, which are for faults of ours.

use std::time::Duration;

use kernel::{Error, Result, Timestamp};

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: Duration = Duration::from_secs(24 * HOUR);

/// How long to wait before each attempt of a delivery.
const WAITS: [u64; 8] = [0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR];

/// After so many failures in a row, only probes are sent to an endpoint.
pub(crate) const BREAKER: i64 = 5;

/// How long an endpoint may fail without a single success before it is switched off.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5 * 24 * HOUR);

/// For how long the secret before the present one still signs.
pub(crate) const OVERLAP: Duration = DAY;

/// The longest that a receiver may ask us to wait.
const LONGEST_ASKED: Duration = DAY;

/// Returns how long to wait after so many attempts, within ±20 %; nothing after the last.
pub(crate) fn wait_after(attempts: i64) -> Result<Option<Duration>> {
    let next = usize::try_from(attempts).ok().and_then(|attempts| WAITS.get(attempts));
    next.map(|seconds| jittered(Duration::from_secs(*seconds))).transpose()
}

/// Returns how long an endpoint that has failed so often is left alone before the next probe.
pub(crate) fn probe_after(failures: i64) -> Duration {
    let doublings = u32::try_from((failures - BREAKER).clamp(0, 4)).unwrap_or(0);
    Duration::from_secs((MINUTE << doublings).min(15 * MINUTE))
}

/// Returns a wait within ±20 % of this one, so that what failed together does not come back together.
pub(crate) fn jittered(wait: Duration) -> Result<Duration> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("the system's random source: {error}")))?;
    let share = f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX);
    Ok(wait.mul_f64(0.8 + 0.4 * share))
}

/// Reads `Retry-After`: seconds, or a date.
pub(crate) fn asked_to_wait(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds.min(LONGEST_ASKED.as_secs())),
        Err(_) => {
            let moment = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
            Duration::from_micros(u64::try_from(moment.as_microsecond().checked_sub(now.0)?).unwrap_or(0))
        }
    };
    Some(wait.min(LONGEST_ASKED))
}

/// Returns how long it is from one moment to another; nothing when that is past.
pub(crate) fn until(now: Timestamp, moment: Timestamp) -> Option<Duration> {
    let micros = u64::try_from(moment.0.saturating_sub(now.0)).ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_eight_attempts_within_28_hours() {
        assert_eq!(wait_after(0).expect("random"), Some(Duration::ZERO));
        for (attempts, seconds) in [(1, 5.0), (2, 300.0), (3, 1800.0), (4, 7200.0), (5, 18000.0), (7, 36000.0)] {
            for _ in 0..50 {
                let wait = wait_after(attempts).expect("random").expect("another attempt").as_secs_f64();
                assert!((0.8 * seconds..=1.2 * seconds).contains(&wait), "{attempts}: {wait}");
            }
        }
        assert_eq!(wait_after(8).expect("random"), None);
    }

    #[test]
    fn probes_grow_rarer() {
        let minutes: Vec<u64> = (4..12).map(|failures| probe_after(failures).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 1, 2, 4, 8, 15, 15, 15]);
    }

    #[test]
    fn retry_after_is_read_and_capped() {
        let now = Timestamp::parse("2026-11-21T08:00:00Z").expect("a time");
        for (header, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("999999999999", Some(86_400)),
            ("Sat, 21 Nov 2026 08:01:00 GMT", Some(60)),
            ("Sat, 21 Nov 2026 07:00:00 GMT", Some(0)),
            ("Sat, 21 Nov 2099 07:00:00 GMT", Some(86_400)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(asked_to_wait(header, now), seconds.map(Duration::from_secs), "{header}");
        }
    }
}
