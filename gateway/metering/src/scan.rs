//! Finds `usage` at the top of a JSON body while it passes, in constant memory. Not a parser: what is not JSON is
//! passed all the same, and says nothing of usage.

use crate::estimate::Weight;
use crate::format::Said;

/// The longest `usage` that is read.
const LONGEST: usize = 16 * 1024;
const WANTED: &[u8] = b"usage";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Between things; a string at the top level may be a name.
    Between,
    /// In a string, and whether the next byte is escaped.
    Text { escaped: bool, name: bool },
    /// Behind a name, before its colon.
    Named,
}

/// Where a body is.
#[derive(Debug)]
pub(crate) struct Scan {
    at: At,
    depth: u32,
    /// Whether a name may stand here.
    names: bool,
    /// What a name at the top level is so far, as long as it may be the wanted one.
    name: Vec<u8>,
    /// The value of the wanted name, while it is read.
    value: Option<Vec<u8>>,
    found: Option<Said>,
    weight: Weight,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            at: At::Between,
            depth: 0,
            names: false,
            name: Vec::new(),
            value: None,
            found: None,
            weight: Weight::default(),
        }
    }
}

impl Scan {
    /// Returns what was found, and the weight of the body.
    pub(crate) fn end(&mut self) -> (Option<Said>, Weight) {
        (self.found, self.weight)
    }

    /// Reads on.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.weight.add_bytes(bytes);
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        if let Some(value) = &mut self.value
            && value.len() < LONGEST
        {
            value.push(byte);
        }
        match self.at {
            At::Text { escaped: true, name } => self.text(byte, name, false),
            At::Text { name, .. } if byte == b'"' => self.at = if name { At::Named } else { At::Between },
            At::Text { name, .. } => self.text(byte, name, byte == b'\\'),
            At::Named if byte == b':' => {
                if self.name == WANTED {
                    self.value = Some(Vec::new());
                }
                (self.at, self.names) = (At::Between, false);
            }
            At::Named if byte.is_ascii_whitespace() => {}
            At::Named | At::Between => self.between(byte),
        }
    }

    fn text(&mut self, byte: u8, name: bool, escaped: bool) {
        if name && self.name.len() <= WANTED.len() {
            self.name.push(byte);
        }
        self.at = At::Text { escaped, name };
    }

    fn between(&mut self, byte: u8) {
        self.at = At::Between;
        match byte {
            b'"' => {
                let name = self.depth == 1 && self.names;
                if name {
                    self.name.clear();
                }
                self.at = At::Text { escaped: false, name };
            }
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.names = self.depth == 1 && byte == b'{';
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth <= 1 {
                    self.value_ends(self.depth == 1);
                }
            }
            b',' if self.depth == 1 => {
                self.value_ends(false);
                self.names = true;
            }
            _ => {}
        }
    }

    /// The value is over where its own bracket closes; a number or null is not what is looked for.
    fn value_ends(&mut self, closed: bool) {
        if let Some(value) = self.value.take()
            && closed
            // A list would be read as a record's fields in their order.
            && value.trim_ascii_start().starts_with(b"{")
        {
            self.found = serde_json::from_slice(&value).ok().or(self.found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    fn found(parts: &[&[u8]]) -> Option<Usage> {
        let mut scan = Scan::default();
        parts.iter().for_each(|part| scan.feed(part));
        scan.end().0.map(|said| said.usage())
    }

    #[test]
    fn usage_is_found_however_the_body_is_cut() {
        let body =
            br#" { "id": "a\"usage\":{", "usage2" : {"input_tokens": 9}, "choices":[{"usage":{"input_tokens":8}}],
            "note": "usage", "usage" : {"prompt_tokens": 12, "completion_tokens":3,
            "prompt_tokens_details":{"cached_tokens":2}, "x":[1,{"y":"}"}]}, "end": {"usage": {"input_tokens":7}} } "#;
        let expected = Some(Usage { input: 10, cached: 2, cache_write: 0, output: 3 });
        for cut in 0..=body.len() {
            assert_eq!(found(&[&body[..cut], &body[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_says_nothing_says_nothing() {
        for body in [
            &b""[..],
            b"{}",
            b"not json \"usage\": {",
            b"[{\"usage\":{\"input_tokens\":7}}]",
            b"{\"usage\":null}",
            b"{\"usage\":7,\"a\":{}}",
            b"{\"usage\":{\"input_tokens\":7",
            b"{\"usage\":[1,2]}",
            b"{\"a\":\"usage\",\"b\":{\"input_tokens\":7}}",
            b"}}}}\"usage\":{}",
        ] {
            assert_eq!(found(&[body]), None, "{}", String::from_utf8_lossy(body));
        }
        let long = [b"{\"usage\":{\"a\":\"".to_vec(), vec![b'x'; 2 * LONGEST], b"\"}}".to_vec()].concat();
        assert_eq!(found(&[&long]), None);
    }
}
