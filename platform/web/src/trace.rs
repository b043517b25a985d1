//! The trace that a request belongs to, as its headers say it: W3C Trace Context, level 2. What is not to the
//! letter is dropped, so behind the door `traceparent` is valid or absent. Not for spans: what they are and where
//! they go is the gateway's.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names the trace, and the span that a request was sent from.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems tell each other beside that.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest tracestate that is passed on (section 3.3.1.5 wants at least 512).
const STATE_LIMIT: usize = 512;
/// The most members of a tracestate (section 3.3.1.1).
const STATE_MEMBERS: usize = 32;

/// A trace, and a span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span; never zero.
    pub span_id: u64,
    flags: u8,
}

impl TraceContext {
    const SAMPLED: u8 = 1;
    const RANDOM: u8 = 2;
    /// The length of version 00, which later versions begin with.
    const LENGTH: usize = 55;

    /// Returns the context of a trace that begins here; its id is random.
    pub fn begin(trace_id: u128, span_id: u64) -> Self {
        Self { trace_id, span_id, flags: Self::SAMPLED | Self::RANDOM }
    }

    /// Reads a traceparent (section 3.2.2); nothing if it is not valid.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(Self::LENGTH)?;
        let version = hex(&known[..2])?;
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            // A later version may go on after another hyphen (section 4.3).
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !fits || [2, 35, 52].iter().any(|at| known[*at] != b'-') {
            return None;
        }
        let (trace_id, span_id, flags) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..])?);
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        let known_flags = if version == 0 { Self::SAMPLED | Self::RANDOM } else { Self::SAMPLED };
        Some(Self { trace_id, span_id: span_id as u64, flags: flags as u8 & known_flags })
    }

    /// Reads the context of a request, and leaves in its headers only what may be passed on: both or neither.
    pub fn take_in(headers: &mut HeaderMap) -> Option<Self> {
        let mut sent = headers.get_all(TRACEPARENT).iter();
        let context = match (sent.next(), sent.next()) {
            (None, _) => None,
            (Some(one), None) => Self::parse(one.as_bytes()),
            // Which of several is meant nobody knows.
            (Some(_), Some(_)) => None,
        };
        if context.is_none() {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
            return None;
        }
        bound_state(headers);
        context
    }

    /// Says whether whoever sent this records the trace.
    pub fn is_sampled(self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// Returns the flags.
    pub fn flags(self) -> u8 {
        self.flags
    }

    /// Returns another span of the same trace, which is not recorded whoever wished it (section 3.4).
    #[must_use]
    pub fn not_sampled(self, span_id: u64) -> Self {
        Self { span_id, flags: self.flags & !Self::SAMPLED, ..self }
    }

    /// Returns another span of the same trace.
    pub fn child(self, span_id: u64) -> Self {
        Self { span_id, ..self }
    }

    /// Writes it as a header's value.
    pub fn value(self) -> HeaderValue {
        let mut text = String::with_capacity(Self::LENGTH);
        let Self { trace_id, span_id, flags } = self;
        let _ = write!(text, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}");
        HeaderValue::try_from(text).expect("hexadecimal digits and hyphens are valid in a header")
    }
}

/// Reads small hexadecimal digits; capital ones are not valid here.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// Leaves one valid tracestate of bounded length, or none. One that is fine is left as it is.
fn bound_state(headers: &mut HeaderMap) {
    let mut sent = headers.get_all(TRACESTATE).iter();
    let Some(first) = sent.next() else { return };
    if sent.next().is_none() && first.len() <= STATE_LIMIT && first.to_str().is_ok_and(|text| members(text).is_some()) {
        return;
    }
    // Several fields are one list (RFC 9110, section 5.3).
    let texts: Option<Vec<&str>> = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok()).collect();
    let kept = texts.and_then(|texts| shortened(&texts.join(",")));
    match kept.and_then(|text| HeaderValue::try_from(text).ok()) {
        Some(value) => drop(headers.insert(TRACESTATE, value)),
        None => drop(headers.remove(TRACESTATE)),
    }
}

/// Returns a list that fits: long members go first, then the oldest (section 3.3.1.5).
fn shortened(text: &str) -> Option<String> {
    const LONG: usize = 128;
    let mut kept = members(text)?;
    let length = |kept: &[&str]| kept.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    while length(&kept) > STATE_LIMIT {
        let long = kept.iter().rposition(|member| member.len() > LONG).unwrap_or(kept.len().checked_sub(1)?);
        kept.remove(long);
    }
    (!kept.is_empty()).then(|| kept.join(","))
}

/// Returns the members of a list, if all are valid and none has the key of another (section 3.3.1).
fn members(text: &str) -> Option<Vec<&str>> {
    let mut read = Vec::new();
    for member in text.split(',') {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        let twice = read.iter().any(|other: &&str| other.split('=').next() == Some(key));
        if twice || read.len() == STATE_MEMBERS || !is_key(key) || !is_value(value) {
            return None;
        }
        read.push(member);
    }
    Some(read)
}

fn is_key(key: &str) -> bool {
    let simple = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    key.len() <= 256
        && key.bytes().next().is_some_and(|first| matches!(first, b'a'..=b'z' | b'0'..=b'9'))
        && key.bytes().all(simple)
        && key.bytes().filter(|byte| *byte == b'@').count() <= 1
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| (0x20..=0x7e).contains(&byte) && byte != b'=' && byte != b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(parents: &[&str], states: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, values) in [(TRACEPARENT, parents), (TRACESTATE, states)] {
            for value in values {
                headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"));
            }
        }
        headers
    }

    fn state(states: &[&str]) -> Option<String> {
        let mut headers = headers(&[VALID], states);
        assert!(TraceContext::take_in(&mut headers).is_some());
        assert!(headers.get_all(TRACESTATE).iter().count() <= 1);
        headers.get(TRACESTATE).map(|value| value.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_valid_parent_is_read_and_written_as_it_was() {
        let context = TraceContext::parse(VALID.as_bytes()).expect("valid");
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(context.is_sampled());
        assert_eq!(context.value(), VALID);
        assert_eq!(context.child(7).value(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01");
        let random = TraceContext::parse(VALID.replace("-01", "-02").as_bytes()).expect("valid");
        assert!(!random.is_sampled() && random.flags() == 2);
        assert_eq!(TraceContext::parse(VALID.replace("-01", "-ff").as_bytes()).expect("valid").flags(), 3);
        let later = TraceContext::parse(VALID.replace("00-4", "cc-4").replace("-01", "-03-what-comes").as_bytes());
        assert_eq!(later.expect("what it begins with is known").flags(), 1);
        assert!(TraceContext::parse(VALID.replace("00-4", "cc-4").as_bytes()).is_some());
        assert_eq!(TraceContext::begin(1, 2).value(), "00-00000000000000000000000000000001-0000000000000002-03");
    }

    #[test]
    fn what_is_not_to_the_letter_is_dropped_with_its_state() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        for garbage in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-"),
            &format!("{VALID}-what-comes"),
            &VALID.to_uppercase(),
            &VALID.replace("-01", "-0g"),
            &VALID.replace("-01", "-1"),
            &VALID.replace("00-4", "ff-4"),
            &VALID.replace("00-4", "0-4"),
            &VALID.replace("00-4", "0G-4"),
            &VALID.replace("00-4", "cc-4").replace("-01", "-01.what-comes"),
            &VALID.replace("-00f0", "_00f0"),
            &VALID.replace("4bf9", "4bF9"),
            &VALID.replace("4bf9", "+bf9"),
            &zero_trace,
            &zero_span,
            &format!(" {VALID}"),
            &format!("{VALID}, {VALID}"),
            &"é".repeat(28),
        ] {
            assert_eq!(TraceContext::parse(garbage.as_bytes()), None, "{garbage}");
            let mut headers = headers(&[garbage], &["a=1"]);
            assert_eq!(TraceContext::take_in(&mut headers), None, "{garbage}");
            assert!(headers.is_empty(), "{garbage}");
        }
        let mut twice = headers(&[VALID, VALID], &[]);
        assert_eq!(TraceContext::take_in(&mut twice), None);
        let mut alone = headers(&[], &["a=1"]);
        assert_eq!(TraceContext::take_in(&mut alone), None);
        assert!(twice.is_empty() && alone.is_empty());
    }

    #[test]
    fn a_state_is_passed_on_where_it_is_valid() {
        for fine in ["a=1", "a=1,b=2", "a=1 , b=2", "0a@b=x y", "a=1,,b=2", "tenant@vendor=!~", "a*/_-=1"] {
            assert_eq!(state(&[fine]).as_deref(), Some(fine));
        }
        assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        let (long_key, long_value) = (format!("{}=1", "a".repeat(257)), format!("a={}", "x".repeat(257)));
        for wrong in
            ["a", "a=", "=1", "A=1", "a=1,a=2", "a@b@c=1", "a=1=2", "_a=1", "a b=1", "a=\u{e9}", &long_key, &long_value]
        {
            assert_eq!(state(&[wrong]), None, "{wrong}");
            assert_eq!(state(&["z=1", wrong]), None, "{wrong}");
        }
        let many = |count: usize| (0..count).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&[&many(32)]), Some(many(32)));
        assert_eq!(state(&[&many(33)]), None);
    }

    #[test]
    fn a_long_state_loses_its_long_members_then_its_oldest() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<String> = (0..30).map(|number| format!("k{number:02}={}", "y".repeat(10))).collect();
        let kept = state(&[&format!("{long},{}", short.join(","))]).expect("some of it");
        assert!(kept.len() <= 512 && !kept.contains("long") && kept.starts_with("k00="));
        let kept = state(&[&short.join(","), &short.join(",").replace('k', "z")]);
        assert_eq!(kept, None, "sixty members are too many");
        let medium: Vec<String> = (0..30).map(|number| format!("k{number:02}={}", "y".repeat(30))).collect();
        let kept = state(&[&medium.join(",")]).expect("some of it");
        assert!(kept.len() <= 512 && kept.starts_with("k00=") && !kept.contains("k29="));
    }
}
