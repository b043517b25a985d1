//! The filter itself: a strict reader of RFC 8259, byte by byte, that writes what the plan lets through. It
//! keeps one frame per open array or object and at most one key; strings, numbers and subtrees that pass are
//! copied as they come. Space between tokens is left out. Not for deciding what to do with a fault.

mod members;
mod number;

use self::number::Number;
use super::OnInvalid;
use super::plan::JsonPlan;

/// How many bytes of a key are held: more than any name of the configuration has, however it is escaped.
const KEY_LIMIT: usize = 1_024;

/// What is not JSON, or nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Copied.
    Pass,
    /// Left out.
    Skip,
    /// Changed as this node of the plan says.
    Node(usize),
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    object: bool,
    mode: Mode,
    /// Whether something was written in it, so that a comma comes before what is next.
    wrote: bool,
    /// The objects that need not be made.
    seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    After,
    Text,
    Escape,
    Hex(u8),
    Number(Number),
    /// What is left of `true`, `false` or `null`.
    Literal(&'static [u8]),
    Done,
}

/// Where the bytes of a token go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Out,
    Key,
    Nowhere,
}

pub(super) struct Filter {
    plan: JsonPlan,
    rendered: Vec<Option<Vec<u8>>>,
    frames: Vec<Frame>,
    state: State,
    sink: Sink,
    /// The string being read is a key.
    in_key: bool,
    key: Vec<u8>,
    /// What is written before the member's value, once that begins.
    pending: Vec<u8>,
    value_mode: Mode,
    value_bit: u64,
}

impl Filter {
    pub(super) fn new(plan: JsonPlan, rendered: Vec<Option<Vec<u8>>>) -> Self {
        Self {
            plan,
            rendered,
            frames: Vec::new(),
            state: State::Value,
            sink: Sink::Out,
            in_key: false,
            key: Vec::new(),
            pending: Vec::new(),
            value_mode: Mode::Node(0),
            value_bit: 0,
        }
    }

    pub(super) fn on_invalid(&self) -> OnInvalid {
        self.plan.on_invalid()
    }

    /// Reads a chunk, and says how much of it was JSON: all of it, or up to where the fault is.
    pub(super) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
        let mut at = 0;
        while at < chunk.len() {
            at += self.step(&chunk[at..], out).map_err(|NotJson| at)?;
        }
        Ok(())
    }

    /// Ends the document.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), NotJson> {
        if let State::Number(number) = self.state
            && number.may_end()
        {
            self.end_value();
        }
        if self.state != State::Done {
            return Err(NotJson);
        }
        out.extend_from_slice(self.plan.after());
        Ok(())
    }

    /// Reads at least one byte, unless it belongs to what comes next; returns how many.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, NotJson> {
        let byte = bytes[0];
        match self.state {
            State::Text => return self.text(bytes, out),
            State::Number(number) => {
                let Some(next) = number.next(byte) else {
                    return if number.may_end() {
                        self.end_value();
                        Ok(0)
                    } else {
                        Err(NotJson)
                    };
                };
                self.put(&[byte], out);
                self.state = State::Number(next);
            }
            State::Literal(rest) => {
                if rest.first() != Some(&byte) {
                    return Err(NotJson);
                }
                self.put(&[byte], out);
                match &rest[1..] {
                    [] => self.end_value(),
                    rest => self.state = State::Literal(rest),
                }
            }
            State::Escape => {
                self.state = match byte {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text,
                    b'u' => State::Hex(4),
                    _ => return Err(NotJson),
                };
                self.put(&[byte], out);
            }
            State::Hex(left) => {
                if !byte.is_ascii_hexdigit() {
                    return Err(NotJson);
                }
                self.put(&[byte], out);
                self.state = if left == 1 { State::Text } else { State::Hex(left - 1) };
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            State::Value => self.begin_value(byte, out)?,
            State::ValueOrEnd if byte == b']' => self.close(false, out)?,
            State::ValueOrEnd => self.begin_value(byte, out)?,
            State::KeyOrEnd if byte == b'}' => self.close(true, out)?,
            State::Key | State::KeyOrEnd if byte == b'"' => self.begin_key(out),
            State::Colon if byte == b':' => {
                if self.frames.last().is_some_and(|frame| frame.mode == Mode::Pass) {
                    out.push(b':');
                }
                self.state = State::Value;
            }
            State::After => match byte {
                b',' => {
                    let object = self.frames.last().is_some_and(|frame| frame.object);
                    self.state = if object { State::Key } else { State::Value };
                }
                b'}' => self.close(true, out)?,
                b']' => self.close(false, out)?,
                _ => return Err(NotJson),
            },
            State::Key | State::KeyOrEnd | State::Colon | State::Done => return Err(NotJson),
        }
        Ok(1)
    }

    /// Copies a string up to what ends or interrupts it.
    fn text(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, NotJson> {
        let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
        self.put(&bytes[..plain], out);
        match bytes.get(plain) {
            None => Ok(plain),
            Some(b'"') => {
                self.put(b"\"", out);
                if self.in_key {
                    self.end_key()
                } else {
                    self.end_value()
                }
                Ok(plain + 1)
            }
            Some(b'\\') => {
                self.put(b"\\", out);
                self.state = State::Escape;
                Ok(plain + 1)
            }
            Some(_) => Err(NotJson),
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self.sink {
            Sink::Out => out.extend_from_slice(bytes),
            Sink::Nowhere => {}
            Sink::Key => {
                self.key.extend_from_slice(bytes);
                if self.key.len() > KEY_LIMIT {
                    self.give_up_key(out);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "filter/tests.rs"]
mod tests;
