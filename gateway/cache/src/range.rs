//! Byte ranges (RFC 9110 section 14): what is asked for, what an answer holds, what of it to give. Not for several
//! ranges at a time: such a request gets the whole, which is always allowed.

use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};

use crate::date;

/// The part of a representation that an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub first: u64,
    pub last: u64,
    pub total: Option<u64>,
}

/// What a request wants of a representation of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Whole,
    Part(u64, u64),
    Unsatisfiable,
}

/// Reads Range and If-Range against what is stored.
pub(crate) fn wanted(request: &HeaderMap, stored: &HeaderMap, length: u64) -> Wanted {
    match request.get(RANGE) {
        Some(range) if condition(request, stored) => read(range, length),
        _ => Wanted::Whole,
    }
}

/// Says whether If-Range names what is stored, by strong comparison (RFC 9110 section 13.1.5).
fn condition(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    if condition.as_bytes().starts_with(b"\"") {
        return stored.get(ETAG) == Some(condition);
    }
    let moment = date::parse(condition);
    moment.is_some() && moment == stored.get(LAST_MODIFIED).and_then(date::parse)
}

fn read(range: &HeaderValue, length: u64) -> Wanted {
    // What cannot be read, and what asks for several, is as if it were not there.
    let spec = range.to_str().ok().and_then(|text| text.split_once('='));
    let Some((unit, spec)) = spec.filter(|(unit, spec)| unit.eq_ignore_ascii_case("bytes") && !spec.contains(','))
    else {
        return Wanted::Whole;
    };
    debug_assert!(unit.len() == 5);
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::Whole };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    match (first.is_empty(), number(first), last.is_empty(), number(last)) {
        (true, _, false, Some(0)) => Wanted::Unsatisfiable,
        (true, _, false, Some(_)) if length == 0 => Wanted::Unsatisfiable,
        (true, _, false, Some(count)) => Wanted::Part(length.saturating_sub(count), length - 1),
        (false, Some(first), true, _) if first < length => Wanted::Part(first, length - 1),
        (false, Some(first), false, Some(last)) if first <= last && first < length => {
            Wanted::Part(first, last.min(length - 1))
        }
        (false, Some(first), _, last) if first >= length && last.is_none_or(|last| last >= first) => {
            Wanted::Unsatisfiable
        }
        _ => Wanted::Whole,
    }
}

impl Part {
    /// Reads the Content-Range of a 206.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        (first <= last && total.is_none_or(|total: u64| last < total)).then_some(Self { first, last, total })
    }

    /// Returns how many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Says whether it is the whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.first == 0 && self.total == Some(self.last + 1)
    }

    /// Returns what two parts of one representation are together, if there is no gap between them.
    pub(crate) fn join(&self, other: &Self) -> Option<Self> {
        let known = self.total.or(other.total);
        let agreed = self.total == known && other.total == known;
        let touching = self.first <= other.last + 1 && other.first <= self.last + 1;
        (agreed && touching).then(|| Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            total: known,
        })
    }

    /// Writes Content-Range.
    pub(crate) fn header(&self) -> HeaderValue {
        let text = match self.total {
            Some(total) => format!("bytes {}-{}/{total}", self.first, self.last),
            None => format!("bytes {}-{}/*", self.first, self.last),
        };
        HeaderValue::try_from(text).expect("digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &'static str, length: u64) -> Wanted {
        read(&HeaderValue::from_static(range), length)
    }

    #[test]
    fn one_range_is_read() {
        assert_eq!(ask("bytes=0-1", 10), Wanted::Part(0, 1));
        assert_eq!(ask("bytes=1-", 10), Wanted::Part(1, 9));
        assert_eq!(ask("bytes=-1", 10), Wanted::Part(9, 9));
        assert_eq!(ask("bytes=-99", 10), Wanted::Part(0, 9));
        assert_eq!(ask("bytes=5-99", 10), Wanted::Part(5, 9));
        for beyond in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(ask(beyond, 10), Wanted::Unsatisfiable, "{beyond}");
        }
        assert_eq!(ask("bytes=-1", 0), Wanted::Unsatisfiable);
        for odd in
            ["bytes=2-1", "bytes=a-b", "bytes=-", "bytes=0-1,3-4", "lines=0-1", "bytes", "bytes=1", "bytes=12-11"]
        {
            assert_eq!(ask(odd, 10), Wanted::Whole, "{odd}");
        }
    }

    #[test]
    fn parts_join_where_they_touch() {
        let part = |first, last| Part { first, last, total: Some(10) };
        assert_eq!(part(0, 4).join(&part(5, 9)), Some(part(0, 9)));
        assert_eq!(part(5, 9).join(&part(0, 6)), Some(part(0, 9)));
        assert_eq!(part(0, 3).join(&part(5, 9)), None);
        assert_eq!(part(0, 4).join(&Part { first: 5, last: 9, total: Some(11) }), None);
        assert!(part(0, 9).is_whole() && !part(0, 8).is_whole());
    }

    #[test]
    fn a_content_range_that_cannot_be_is_none() {
        let read =
            |text: &'static str| Part::of(&HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(text))]));
        assert_eq!(read("bytes 0-4/10"), Some(Part { first: 0, last: 4, total: Some(10) }));
        assert_eq!(read("bytes 0-4/*"), Some(Part { first: 0, last: 4, total: None }));
        for wrong in ["bytes 5-4/10", "bytes 0-10/10", "bytes */10", "0-4/10", "bytes 0-4"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn if_range_compares_strongly() {
        let stored = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"a\""))]);
        let wants = |condition: &'static str| {
            let request = HeaderMap::from_iter([
                (RANGE, HeaderValue::from_static("bytes=0-0")),
                (IF_RANGE, HeaderValue::from_static(condition)),
            ]);
            wanted(&request, &stored, 5)
        };
        assert_eq!(wants("\"a\""), Wanted::Part(0, 0));
        for other in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(wants(other), Wanted::Whole, "{other}");
        }
    }
}
