//! Server-sent events as the HTML standard parses them (section 9.2.6), however the bytes are cut: CR, LF and CRLF,
//! comments, several `data` lines, a byte order mark. Looks at what passes; not for changing it.

use std::ops::ControlFlow;

/// The longest event that is read; a longer one passes unread.
const LONGEST: usize = 1024 * 1024;
const MARK: &[u8] = b"\xef\xbb\xbf";

/// An event that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Its lines of data, joined by line feeds; nothing where it was too long.
    pub(crate) data: &'a [u8],
    /// Where it ends in the bytes that were fed.
    pub(crate) end: usize,
}

/// Where a stream is in its events.
#[derive(Debug, Default)]
pub(crate) struct Sse {
    /// The line that has not come to its end.
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    too_long: bool,
    /// Whether a carriage return was last: a line feed behind it belongs to it.
    returned: bool,
    /// Whether the first line is over, which a mark may precede.
    begun: bool,
    /// Whether anything stands since the last blank line.
    inside: bool,
}

impl Sse {
    /// Says whether the bytes so far end between two events, so that something can be put there.
    pub(crate) fn between(&self) -> bool {
        // Behind a carriage return a line feed may come, which would end what is put there.
        !self.inside && self.line.is_empty() && !self.returned
    }

    /// Reads on, and shows each event that ends here until `each` breaks off.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>) -> ControlFlow<()>) {
        let mut from = 0;
        if self.returned && !bytes.is_empty() {
            self.returned = false;
            from = usize::from(bytes[0] == b'\n');
        }
        while let Some(length) = bytes[from..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let at = from + length;
            let next = match bytes[at] {
                b'\r' if bytes.get(at + 1) == Some(&b'\n') => at + 2,
                b'\r' => {
                    self.returned = at + 1 == bytes.len();
                    at + 1
                }
                _ => at + 1,
            };
            let ended = if self.line.is_empty() {
                self.line(&bytes[from..at])
            } else {
                self.keep(&bytes[from..at]);
                let line = std::mem::take(&mut self.line);
                self.line(&line)
            };
            from = next;
            if ended {
                let (has_data, data) = (self.has_data, std::mem::take(&mut self.data));
                let flow = if has_data {
                    let data = if self.too_long { &[] } else { &data[..] };
                    each(Event { data, end: next })
                } else {
                    ControlFlow::Continue(())
                };
                // The room is used again.
                self.data = data;
                self.data.clear();
                (self.has_data, self.too_long, self.inside) = (false, false, false);
                if flow.is_break() {
                    return;
                }
            }
        }
        self.keep(&bytes[from..]);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.line.len());
        self.too_long |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes a line, and says whether it ends an event.
    fn line(&mut self, line: &[u8]) -> bool {
        let line = if self.begun { line } else { line.strip_prefix(MARK).unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            return true;
        }
        self.inside = true;
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        if field == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            if self.data.len() + value.len() > LONGEST {
                self.too_long = true;
            } else {
                self.data.extend_from_slice(value);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parts: &[&[u8]]) -> Vec<String> {
        let (mut sse, mut found) = (Sse::default(), Vec::new());
        for part in parts {
            sse.feed(part, |event| {
                found.push(String::from_utf8_lossy(event.data).into_owned());
                ControlFlow::Continue(())
            });
        }
        found
    }

    #[test]
    fn every_cut_gives_the_same_events() {
        let text = "\u{feff}data: one\n\n: comment\r\n\r\nevent: x\rdata:two\rdata: zwei\r\rdata\n\nid: 7\n\n\
                    data:  three\r\n\r\ndata: ä\n\n\n\ndata: unfinished";
        let expected = ["one", "two\nzwei", "", " three", "ä"];
        let bytes = text.as_bytes();
        for cut in 0..=bytes.len() {
            for second in [cut, (cut + 1).min(bytes.len()), bytes.len()] {
                let parts = [&bytes[..cut], &bytes[cut..second], &bytes[second..]];
                assert_eq!(events(&parts), expected, "cut at {cut} and {second}");
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(events(&single), expected);
    }

    #[test]
    fn an_event_says_where_it_ends() {
        let bytes = b"data: a\n\ndata: b\r\n\r\ndata: c";
        let mut ends = Vec::new();
        Sse::default().feed(bytes, |event| {
            ends.push(event.end);
            ControlFlow::Continue(())
        });
        assert_eq!(ends, [9, 20]);
        let mut first = Vec::new();
        Sse::default().feed(bytes, |event| {
            first.push(event.end);
            ControlFlow::Break(())
        });
        assert_eq!(first, [9]);
    }

    #[test]
    fn between_events_is_between_events() {
        for (text, between) in [
            ("", true),
            ("data: a", false),
            ("data: a\n", false),
            ("data: a\n\n", true),
            ("data: a\r\n\r\n", true),
            ("data: a\r\r", false),
            ("data: a\n\n:", false),
        ] {
            let mut sse = Sse::default();
            sse.feed(text.as_bytes(), |_| ControlFlow::Continue(()));
            assert_eq!(sse.between(), between, "{text:?}");
        }
    }

    #[test]
    fn an_endless_line_takes_no_more_than_its_room() {
        let (mut sse, mut found) = (Sse::default(), Vec::new());
        for _ in 0..40 {
            sse.feed(&vec![b'a'; 64 * 1024], |_| ControlFlow::Continue(()));
        }
        assert!(sse.line.len() <= LONGEST);
        let long = [b"\n\ndata: ".to_vec(), vec![b'a'; LONGEST + 1], b"\n\ndata: b\n\n".to_vec()].concat();
        sse.feed(&long, |event| {
            found.push(event.data.to_vec());
            ControlFlow::Continue(())
        });
        assert_eq!(found, [Vec::new(), b"b".to_vec()], "passes unread");
    }
}
