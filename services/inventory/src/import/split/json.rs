//! Splits a JSON array into its objects, also where it is the `data` of an answer of this product. It
//! finds where an object ends and leaves the reading to a parser. Not for what an object means.

use std::collections::VecDeque;

use super::super::Fault;
use super::{Broken, Content, LONGEST, Place, Row, too_long};

/// What stands before the array in an answer is short.
const BEFORE: usize = 1 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the file's first character.
    Begin,
    /// In an object that has the array as its `data`.
    Envelope,
    /// Behind the array's bracket: an object or the end.
    First,
    /// Behind a comma: an object.
    Next,
    /// Behind an object: a comma or the end.
    Behind,
    /// In an object.
    Inside { depth: u32, text: bool, escaped: bool },
    /// Behind the array.
    Done,
}

/// Splits a JSON array.
pub(in super::super) struct Splitter {
    state: State,
    place: Place,
    begin: u64,
    object: Vec<u8>,
    size: usize,
    /// Whether something may stand behind the array.
    enveloped: bool,
}

impl Splitter {
    pub fn new(place: Place) -> Self {
        // Whether there is an envelope is not known behind its beginning, and does not matter any more.
        let (state, enveloped) = if place == Place::START { (State::Begin, false) } else { (State::Behind, true) };
        Self { state, place, begin: place.line, object: Vec::new(), size: 0, enveloped }
    }

    pub fn take(&mut self, bytes: &[u8], rows: &mut VecDeque<Row>) -> Result<(), Broken> {
        let mark = if self.place.position == 0 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        self.place.position += mark as u64;
        for byte in &bytes[mark..] {
            self.place.position += 1;
            self.place.line += u64::from(*byte == b'\n');
            self.byte(*byte, rows)?;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, rows: &mut VecDeque<Row>) -> Result<(), Broken> {
        match (self.state, byte) {
            (State::Inside { depth, text, escaped }, byte) => self.inside(byte, depth, text, escaped, rows),
            (State::Envelope, byte) => return self.envelope(byte),
            (State::Done, _) if self.enveloped => {}
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Begin, b'[') => self.state = State::First,
            (State::Begin, b'{') => {
                self.enveloped = true;
                self.state = State::Envelope;
            }
            (State::First | State::Next, b'{') => {
                self.begin = self.place.line;
                self.object = vec![byte];
                self.size = 1;
                self.state = State::Inside { depth: 1, text: false, escaped: false };
            }
            (State::First | State::Behind, b']') => self.state = State::Done,
            (State::Behind, b',') => self.state = State::Next,
            _ => return Err(self.broken("this is not a JSON array of objects")),
        }
        Ok(())
    }

    fn inside(&mut self, byte: u8, depth: u32, text: bool, escaped: bool, rows: &mut VecDeque<Row>) {
        self.size += 1;
        if self.size <= LONGEST {
            self.object.push(byte);
        }
        let (depth, text, escaped) = match (text, escaped, byte) {
            (true, true, _) => (depth, true, false),
            (true, false, b'\\') => (depth, true, true),
            (inside, _, b'"') => (depth, !inside, false),
            (true, ..) => (depth, true, false),
            (false, _, b'{' | b'[') => (depth + 1, false, false),
            (false, _, b'}' | b']') => (depth - 1, false, false),
            (false, ..) => (depth, false, false),
        };
        if depth > 0 {
            self.state = State::Inside { depth, text, escaped };
            return;
        }
        self.state = State::Behind;
        let object = std::mem::take(&mut self.object);
        let content = if self.size <= LONGEST { Ok(Content::Object(object)) } else { Err(too_long()) };
        rows.push_back(Row { line: self.begin, content, after: self.place });
    }

    /// Reads up to the array that an answer has as its `data`.
    fn envelope(&mut self, byte: u8) -> Result<(), Broken> {
        if byte == b'[' && self.object.ends_with(b"\"data\":") {
            self.object.clear();
            self.state = State::First;
            return Ok(());
        }
        if !byte.is_ascii_whitespace() {
            self.object.push(byte);
        }
        if self.object.len() > BEFORE { Err(self.broken("this is not a JSON array of objects")) } else { Ok(()) }
    }

    fn broken(&self, message: &'static str) -> Broken {
        Broken { line: self.place.line, message }
    }

    pub fn end(self) -> Result<(), Broken> {
        match self.state {
            State::Done => Ok(()),
            State::Begin | State::Envelope => Err(self.broken("this is not a JSON array of objects")),
            _ => Err(self.broken("the file ends before the array does: it was cut off")),
        }
    }
}

/// Reads an object into what its fields hold.
pub(in super::super) fn fields(object: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, Fault> {
    serde_json::from_slice(object).map_err(|error| {
        let message: String = error.to_string().chars().take(200).collect();
        Fault::new("inventory.import_malformed_row", format!("this is not valid JSON: {message}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::FileFormat;
    use super::super::tests::split;
    use super::*;

    #[test]
    fn a_file_that_is_no_whole_array_is_noticed() {
        for (text, whole) in [
            ("[]", true),
            ("[{}]\n", true),
            ("", false),
            ("{}", false),
            ("[", false),
            ("[{}", false),
            ("[{},", false),
            ("[{},]", false),
            ("[{}{}]", false),
            ("[1]", false),
            ("[{}] x", false),
            ("[{\"a\":\"]}\"", false),
            ("\"[]\"", false),
            ("{\"data\":1}", false),
            ("{\"success\":true,\"data\":[{}]", true),
        ] {
            let (_, ended) = split(FileFormat::Json, text.as_bytes(), 2, Place::START);
            assert_eq!(ended.is_ok(), whole, "{text}: {ended:?}");
        }
        let (rows, broken) = split(FileFormat::Json, b"[{},\n{\"a\":1}\n 7]", 2, Place::START);
        assert_eq!((rows.len(), rows[1].line, broken.expect_err("broken").line), (2, 2, 3));
        let long = format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(LONGEST));
        let (rows, _) = split(FileFormat::Json, long.as_bytes(), 1000, Place::START);
        assert_eq!(rows[0].content, Err(too_long()));
        assert_eq!(rows[1].content, Ok(Content::Object(b"{}".to_vec())));
    }
}
