//! The head of a request, or its trailers, line by line. It remembers how far it has come, so that bytes that
//! come one by one are looked at once. Not for keeping the bytes.

use crate::config::Config;
use crate::field::{Framing, split};
use crate::names::may_be_trailer;
use crate::refusal::Refusal;
use crate::syntax::{Line, line_end};
use crate::target;

/// How far a head has been read. All places count from its first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    /// Where the current line begins.
    line: usize,
    /// Up to where the current line is known to be sound.
    sound: usize,
    fields: u16,
    /// Whether the first line has been read, and as which version.
    current: Option<bool>,
    framing: Framing,
}

/// A whole head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// How long it is.
    pub(crate) length: usize,
    /// What follows.
    pub(crate) body: Follows,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// This much body; none is 0.
    Length(u64),
    /// A body in chunks.
    Chunks,
    /// Perhaps a WebSocket, if the answer agrees.
    Perhaps,
}

impl Head {
    /// Reads on; `bytes` begin with the head's first byte. Returns nothing while it is not whole.
    pub(crate) fn read(&mut self, bytes: &[u8], config: &Config) -> Result<Option<Whole>, Refusal> {
        loop {
            let (limit, too_long) = match self.current {
                None => (config.request_line_bytes, Refusal::RequestLineTooLong),
                Some(_) => (config.header_line_bytes, Refusal::HeaderTooLong),
            };
            let Some((start, end)) = self.next(bytes, limit, too_long, config.head_bytes, Refusal::HeadTooLarge)?
            else {
                return Ok(None);
            };
            let line = &bytes[start..end];
            match self.current {
                // RFC 9112, section 2.2, would have one ignored; Go's server and h11 do not.
                None if line.is_empty() => return Err(Refusal::EmptyLine),
                None => self.current = Some(target::request_line(line)?.current),
                Some(current) if line.is_empty() => {
                    return Ok(Some(Whole { length: self.line, body: self.follows(current, config)? }));
                }
                Some(current) => {
                    self.count(config.headers)?;
                    self.framing.take(line, current)?;
                }
            }
        }
    }

    /// Reads trailers on, as [`Head::read`] does a head; returns their length when they are whole.
    pub(crate) fn read_trailers(&mut self, bytes: &[u8], config: &Config) -> Result<Option<usize>, Refusal> {
        loop {
            let (limit, refusal) = (config.trailer_bytes, Refusal::TrailersTooLarge);
            let Some((start, end)) = self.next(bytes, limit, refusal, limit, refusal)? else { return Ok(None) };
            let line = &bytes[start..end];
            if line.is_empty() {
                return Ok(Some(self.line));
            }
            self.count(config.headers).map_err(|_| Refusal::TrailersTooLarge)?;
            if !split(line).is_ok_and(|(name, _)| may_be_trailer(name)) {
                return Err(Refusal::Trailer);
            }
        }
    }

    /// Returns the next whole line, without its end.
    fn next(
        &mut self,
        bytes: &[u8],
        line_limit: usize,
        line_too_long: Refusal,
        limit: usize,
        too_large: Refusal,
    ) -> Result<Option<(usize, usize)>, Refusal> {
        // A line that is too long is refused at the same byte however the bytes come.
        let (end, refusal) = match self.line + line_limit {
            end if end < limit => (end, line_too_long),
            _ => (limit, too_large),
        };
        match line_end(bytes.get(..end).unwrap_or(bytes), self.sound)? {
            Line::Ends(at) => {
                let line = (self.line, at);
                (self.line, self.sound) = (at + 2, at + 2);
                Ok(Some(line))
            }
            Line::GoesOn(_) if bytes.len() >= end => Err(refusal),
            Line::GoesOn(sound) => {
                self.sound = sound;
                Ok(None)
            }
        }
    }

    fn count(&mut self, limit: u16) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > limit { Err(Refusal::TooManyHeaders) } else { Ok(()) }
    }

    fn follows(&self, current: bool, config: &Config) -> Result<Follows, Refusal> {
        let framing = &self.framing;
        // HTTP/1.0 knows no Host; health checks are still sent without.
        if current && !framing.has_host() {
            return Err(Refusal::HostMissing);
        }
        let length = framing.length.unwrap_or(0);
        if length > config.body_bytes {
            return Err(Refusal::BodyTooLarge);
        }
        if framing.websocket && framing.upgrade {
            if framing.chunked || length > 0 {
                return Err(Refusal::UpgradeWithBody);
            }
            return Ok(Follows::Perhaps);
        }
        Ok(if framing.chunked { Follows::Chunks } else { Follows::Length(length) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(head: &str) -> Result<Option<Whole>, Refusal> {
        let config = Config::default();
        let at_once = Head::default().read(head.as_bytes(), &config);
        let mut slowly = Head::default();
        let mut read = Ok(None);
        for end in 0..=head.len() {
            read = slowly.read(&head.as_bytes()[..end], &config);
            if !matches!(read, Ok(None)) {
                break;
            }
        }
        assert_eq!(read, at_once, "{head:?}");
        at_once
    }

    #[test]
    fn a_head_is_read_at_once_or_byte_by_byte() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(whole(head), Ok(Some(Whole { length: head.len(), body: Follows::Length(0) })));
        assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(None));
        assert_eq!(whole("\r\nGET / HTTP/1.0\r\n\r\n"), Err(Refusal::EmptyLine));
        assert_eq!(whole("GET / HTTP/1.1\r\n\r\n"), Err(Refusal::HostMissing));
        assert_eq!(whole("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), Err(Refusal::LeadingWhitespace));
        assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"), Err(Refusal::LeadingWhitespace));
        assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), Err(Refusal::Repeated));
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\nUpgrade: WebSocket\r\n";
        assert_eq!(whole(&format!("{upgrade}\r\n")).map(|head| head.map(|head| head.body)), Ok(Some(Follows::Perhaps)));
        assert_eq!(whole(&format!("{upgrade}content-length: 1\r\n\r\n")), Err(Refusal::UpgradeWithBody));
    }

    #[test]
    fn sizes_are_held_to_the_byte() {
        let line = |length: usize| format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(length - 16));
        assert!(whole(&line(8 * 1024)).is_ok());
        assert_eq!(whole(&line(8 * 1024 + 1)), Err(Refusal::RequestLineTooLong));
        let header = |length: usize| format!("GET / HTTP/1.0\r\na: {}\r\n\r\n", "b".repeat(length - 5));
        assert!(whole(&header(16 * 1024)).is_ok());
        assert_eq!(whole(&header(16 * 1024 + 1)), Err(Refusal::HeaderTooLong));
        let many = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(whole(&many(100)).is_ok());
        assert_eq!(whole(&many(101)), Err(Refusal::TooManyHeaders));
        let large = format!("GET / HTTP/1.0\r\n{}\r\n", format!("a: {}\r\n", "b".repeat(16_000)).repeat(5));
        assert_eq!(whole(&large), Err(Refusal::HeadTooLarge));
    }
}
