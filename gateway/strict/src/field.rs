//! One header line (RFC 9112, section 5), and the headers that decide on framing. Not for what other headers
//! say.

use crate::names::is_guarded;
use crate::refusal::Refusal;
use crate::syntax::{is_tchar, trim};
use crate::target::check_host;

/// Headers that may be there once: which one is meant would be a matter of the reader.
const HOST: u8 = 1;
const AUTHORIZATION: u8 = 2;
const CONTENT_TYPE: u8 = 4;
const EXPECT: u8 = 8;

/// What the headers read so far say of framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    /// The value of Content-Length.
    pub(crate) length: Option<u64>,
    /// Whether the body comes in chunks.
    pub(crate) chunked: bool,
    /// Whether a connection option says `upgrade`.
    pub(crate) upgrade: bool,
    /// Whether the upgrade is to a WebSocket, the only one that is ever agreed to.
    pub(crate) websocket: bool,
    seen: u8,
}

impl Framing {
    /// Whether there is a Host header.
    pub(crate) fn has_host(&self) -> bool {
        self.seen & HOST != 0
    }

    fn once(&mut self, name: u8, refusal: Refusal) -> Result<(), Refusal> {
        if self.seen & name != 0 {
            return Err(refusal);
        }
        self.seen |= name;
        Ok(())
    }

    /// Takes a header line without its CR LF; `current` says that the request is HTTP/1.1.
    pub(crate) fn take(&mut self, line: &[u8], current: bool) -> Result<(), Refusal> {
        let (name, value) = split(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.once(HOST, Refusal::Repeated)?;
                check_host(trim(value))
            }
            6 if name.eq_ignore_ascii_case(b"expect") && current => {
                self.once(EXPECT, Refusal::Expect)?;
                let known = trim(value).eq_ignore_ascii_case(b"100-continue");
                if known { Ok(()) } else { Err(Refusal::Expect) }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") && current => {
                self.websocket |= value.split(|byte| *byte == b',').any(|word| {
                    let word = trim(word);
                    // With a version too: what asks the same is held to the same.
                    word.get(..9).is_some_and(|word| word.eq_ignore_ascii_case(b"websocket"))
                });
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            12 if name.eq_ignore_ascii_case(b"content-type") => self.once(CONTENT_TYPE, Refusal::Repeated),
            13 if name.eq_ignore_ascii_case(b"authorization") => self.once(AUTHORIZATION, Refusal::Repeated),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value, current),
            _ => Ok(()),
        }
    }

    /// One plain number, once (RFC 9112, section 6.3, is more lenient with lists of the same). Without leading
    /// zeros, which are octal to some.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::ContentLength);
        }
        if self.chunked {
            return Err(Refusal::LengthAndCoding);
        }
        let digits = value.strip_prefix(b" ").unwrap_or(value);
        let plain = match digits {
            [b'0'] => true,
            [b'1'..=b'9', rest @ ..] => rest.len() < 18 && rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if !plain {
            return Err(Refusal::ContentLength);
        }
        self.length = Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    /// Exactly `chunked`, once: other spellings are allowed and not understood by all.
    fn transfer_encoding(&mut self, value: &[u8], current: bool) -> Result<(), Refusal> {
        if !current {
            return Err(Refusal::CodingOnOldVersion);
        }
        if self.length.is_some() {
            return Err(Refusal::LengthAndCoding);
        }
        if self.chunked || value.strip_prefix(b" ").unwrap_or(value) != b"chunked" {
            return Err(Refusal::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// A list of names (RFC 9110, section 7.6.1), none of a header that is for more than this connection.
    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in value.split(|byte| *byte == b',').map(trim) {
            // Empty elements are to be ignored (RFC 9110, section 5.6.1.2).
            if option.is_empty() || option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
            {
                continue;
            }
            if !option.iter().all(|byte| is_tchar(*byte)) || is_guarded(option) {
                return Err(Refusal::Connection);
            }
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }
}

/// Splits a header line at its colon, having looked at the name.
pub(crate) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let mut underscore = false;
    let end = line.iter().position(|byte| {
        underscore |= *byte == b'_';
        !is_tchar(*byte)
    });
    let end = end.ok_or(Refusal::HeaderName)?;
    match line[end] {
        _ if end == 0 && matches!(line[0], b' ' | b'\t') => return Err(Refusal::LeadingWhitespace),
        _ if end == 0 => return Err(Refusal::HeaderName),
        b':' => {}
        b' ' | b'\t' => return Err(Refusal::SpaceBeforeColon),
        _ => return Err(Refusal::HeaderName),
    }
    let name = &line[..end];
    if underscore && is_guarded(name) {
        return Err(Refusal::HeaderTwin);
    }
    Ok((name, &line[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Framing, Refusal> {
        let mut framing = Framing::default();
        lines.iter().try_for_each(|line| framing.take(line.as_bytes(), true)).map(|()| framing)
    }

    #[test]
    fn framing_headers_are_read_in_one_spelling() {
        assert_eq!(read(&["Content-Length: 10"]).expect("read").length, Some(10));
        assert_eq!(read(&["content-length:0"]).expect("read").length, Some(0));
        for value in [
            "",
            " ",
            " +1",
            " -1",
            " 0x1",
            " 1 ",
            "  1",
            "\t1",
            " 1,1",
            " 1;",
            " 01",
            " 00",
            " 1e3",
            " 1_0",
            " 9999999999999999999",
        ] {
            assert_eq!(read(&[&format!("Content-Length:{value}")]), Err(Refusal::ContentLength), "{value:?}");
        }
        assert_eq!(read(&["Content-Length: 1", "Content-Length: 1"]), Err(Refusal::ContentLength));
        assert!(read(&["transfer-ENCODING: chunked"]).expect("read").chunked);
        for value in [
            " Chunked",
            " chunked ",
            "  chunked",
            "\tchunked",
            " gzip, chunked",
            " chunked, identity",
            " identity",
            "",
            " \"chunked\"",
            " chunked;q=1",
            " xchunked",
        ] {
            assert_eq!(read(&[&format!("Transfer-Encoding:{value}")]), Err(Refusal::TransferEncoding), "{value:?}");
        }
        let coding = "Transfer-Encoding: chunked";
        assert_eq!(read(&[coding, coding]), Err(Refusal::TransferEncoding));
        assert_eq!(read(&[coding, "Content-Length: 1"]), Err(Refusal::LengthAndCoding));
        assert_eq!(read(&["Content-Length: 1", coding]), Err(Refusal::LengthAndCoding));
        assert_eq!(Framing::default().take(coding.as_bytes(), false), Err(Refusal::CodingOnOldVersion));
    }

    #[test]
    fn names_are_tokens_before_a_colon() {
        for (line, refusal) in [
            ("", Refusal::HeaderName),
            (": a", Refusal::HeaderName),
            ("a", Refusal::HeaderName),
            ("a b: c", Refusal::SpaceBeforeColon),
            ("a : c", Refusal::SpaceBeforeColon),
            ("a\t: c", Refusal::SpaceBeforeColon),
            (" a: c", Refusal::LeadingWhitespace),
            ("a(b): c", Refusal::HeaderName),
            ("\u{e6}: c", Refusal::HeaderName),
            ("X_Forwarded_For: c", Refusal::HeaderTwin),
            ("x-forwarded_for: c", Refusal::HeaderTwin),
            ("content_length: 1", Refusal::HeaderTwin),
        ] {
            assert_eq!(split(line.as_bytes()), Err(refusal), "{line:?}");
        }
        assert_eq!(split(b"my_header:"), Ok((b"my_header".as_slice(), b"".as_slice())));
    }

    #[test]
    fn connection_options_cannot_take_away_what_is_not_theirs() {
        for value in ["close", "Keep-Alive, Upgrade", "", ", ,close", "x-hop", "TE, trailers"] {
            assert!(read(&[&format!("Connection: {value}")]).is_ok(), "{value}");
        }
        for value in [
            "close, x-tenant",
            "Host",
            "content-length",
            "X-Forwarded-For",
            "authorization",
            "a b",
            "a;b",
            "x_forwarded_for",
        ] {
            assert_eq!(read(&[&format!("Connection: {value}")]), Err(Refusal::Connection), "{value}");
        }
    }
}
