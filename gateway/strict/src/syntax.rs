//! The characters of RFC 9110 and RFC 9112, and lines. Not for what a line means.

use crate::refusal::Refusal;

const TCHAR: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;
const HOST: u8 = 8;
const UPPER: u8 = 16;

/// What each byte may be part of.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let word = b.is_ascii_alphanumeric();
        if word || has(b"!#$%&'*+-.^_`|~", b) {
            class[byte] |= TCHAR;
        }
        // RFC 3986, section 3.3, and what browsers leave as it is (WHATWG URL, path percent-encode set).
        if word || has(b"-._~!$&'()*+,;=:@/%[]|", b) {
            class[byte] |= PATH;
        }
        if word || has(b"-._~!$&'()*+,;=:@/?%[]|{}^`\\", b) {
            class[byte] |= QUERY;
        }
        // Of the reg-name of RFC 3986 only what names of hosts are made of.
        if word || has(b"-._~", b) {
            class[byte] |= HOST;
        }
        if b.is_ascii_uppercase() {
            class[byte] |= UPPER;
        }
        byte += 1;
    }
    class
}

const fn has(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// Whether a byte may be part of a token (RFC 9110, section 5.6.2).
pub(crate) fn is_tchar(byte: u8) -> bool {
    is(byte, TCHAR)
}

/// Whether a byte may be part of a path as it is sent.
pub(crate) fn is_path(byte: u8) -> bool {
    is(byte, PATH)
}

/// Whether a byte may be part of a query as it is sent.
pub(crate) fn is_query(byte: u8) -> bool {
    is(byte, QUERY)
}

/// Whether a byte may be part of a host's name.
pub(crate) fn is_host(byte: u8) -> bool {
    is(byte, HOST)
}

/// Whether this is a method that is not refused for its spelling.
pub(crate) fn is_method(method: &[u8]) -> bool {
    method.len() <= 32
        && method.first().is_some_and(|first| is(*first, UPPER))
        && method.iter().all(|byte| is(*byte, UPPER) || *byte == b'-')
}

/// Returns the text without the white space around it (OWS).
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Where a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its CR is here, and its LF follows.
    Ends(usize),
    /// It goes on; up to here there is nothing wrong.
    GoesOn(usize),
}

/// Looks for the end of a line from `from` on; all control characters but HTAB are refused.
pub(crate) fn line_end(bytes: &[u8], from: usize) -> Result<Line, Refusal> {
    let mut at = from;
    loop {
        at = next_control(bytes, at);
        match bytes.get(at) {
            None => return Ok(Line::GoesOn(at)),
            Some(b'\t') => at += 1,
            Some(b'\r') => {
                return match bytes.get(at + 1) {
                    Some(b'\n') => Ok(Line::Ends(at)),
                    Some(_) => Err(Refusal::BareCarriageReturn),
                    None => Ok(Line::GoesOn(at)),
                };
            }
            Some(b'\n') => return Err(Refusal::BareLineFeed),
            Some(_) => return Err(Refusal::ControlCharacter),
        }
    }
}

/// Returns where the first control character is, or the end; eight bytes at a time.
fn next_control(bytes: &[u8], from: usize) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut at = from;
    let (words, rest) = bytes.get(from..).unwrap_or_default().as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let delete = word ^ (LOW * 0x7f);
        // The lowest marked byte is right; a borrow can mark others above it.
        let below_space = word.wrapping_sub(LOW * 0x20) & !word;
        let found = (below_space | (delete.wrapping_sub(LOW) & !delete)) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_control_character_is_found_wherever_it_is() {
        for length in 0..40 {
            for at in 0..length {
                for control in (0..0x20).chain([0x7f]) {
                    for other in [b' ', b'a', 0x80, 0xff, 0xa0, 0x9f] {
                        let mut bytes = vec![other; length];
                        bytes[at] = control;
                        assert_eq!(next_control(&bytes, 0), at);
                        assert_eq!(next_control(&bytes, at), at);
                        assert_eq!(next_control(&bytes, at + 1), length);
                    }
                }
            }
        }
    }

    #[test]
    fn lines_end_with_cr_and_lf() {
        assert_eq!(line_end(b"a\tb\r\nc", 0), Ok(Line::Ends(3)));
        assert_eq!(line_end(b"ab\r", 0), Ok(Line::GoesOn(2)));
        assert_eq!(line_end(b"ab", 1), Ok(Line::GoesOn(2)));
        assert_eq!(line_end(b"a\nb\r\n", 0), Err(Refusal::BareLineFeed));
        assert_eq!(line_end(b"a\rb\r\n", 0), Err(Refusal::BareCarriageReturn));
        assert_eq!(line_end(b"a\r\r\n", 0), Err(Refusal::BareCarriageReturn));
        assert_eq!(line_end(b"a\0\r\n", 0), Err(Refusal::ControlCharacter));
    }

    #[test]
    fn white_space_is_trimmed_at_both_ends_only() {
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
    }
}
