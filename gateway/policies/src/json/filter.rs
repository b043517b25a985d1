//! The filter itself: a strict reader of RFC 8259, byte by byte, that writes what the plan lets through. It
//! keeps one frame per open array or object and at most one key; strings, numbers and subtrees that pass are
//! copied as they come. Space between tokens is left out. Not for deciding what to do with a fault.

use super::OnInvalid;
use super::plan::{JsonPlan, SetValue};

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
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
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

    fn begin_key(&mut self, out: &mut Vec<u8>) {
        (self.state, self.in_key) = (State::Text, true);
        let Some(frame) = self.frames.last_mut() else { return };
        self.sink = match frame.mode {
            Mode::Skip => Sink::Nowhere,
            Mode::Pass => {
                if std::mem::replace(&mut frame.wrote, true) {
                    out.push(b',');
                }
                Sink::Out
            }
            Mode::Node(_) => {
                self.key.clear();
                Sink::Key
            }
        };
        self.put(b"\"", out);
    }

    /// A key longer than any that the plan names: it is copied, or left out, without being held.
    fn give_up_key(&mut self, out: &mut Vec<u8>) {
        let Some(frame) = self.frames.last_mut() else { return };
        let keep_only = matches!(frame.mode, Mode::Node(node) if self.plan.node(node).keep_only);
        if keep_only {
            self.sink = Sink::Nowhere;
        } else {
            if std::mem::replace(&mut frame.wrote, true) {
                out.push(b',');
            }
            out.append(&mut self.key);
            self.sink = Sink::Out;
        }
    }

    /// Decides what becomes of a member, whose key is complete.
    fn end_key(&mut self) {
        self.state = State::Colon;
        self.pending.clear();
        self.value_bit = 0;
        let Some(frame) = self.frames.last() else { return };
        let Mode::Node(node) = frame.mode else {
            self.value_mode = frame.mode;
            return;
        };
        let node = self.plan.node(node);
        self.value_mode = match self.sink {
            // A key too long to be known.
            Sink::Nowhere => Mode::Skip,
            Sink::Out => {
                self.pending.push(b':');
                Mode::Pass
            }
            Sink::Key => {
                let raw = &self.key[1..self.key.len() - 1];
                // Only an escaped key has to be decoded; half a surrogate pair names nothing that is known.
                let member = if raw.contains(&b'\\') {
                    serde_json::from_slice::<String>(&self.key).ok().and_then(|name| node.member(name.as_bytes()))
                } else {
                    node.member(raw)
                };
                let mode = match member {
                    None if node.keep_only => Mode::Skip,
                    None => Mode::Pass,
                    Some(member) if member.drop || node.keep_only && !member.wanted => Mode::Skip,
                    Some(member) => {
                        self.value_bit = member.bit;
                        member.node.map_or(Mode::Pass, Mode::Node)
                    }
                };
                if mode != Mode::Skip {
                    if frame.wrote {
                        self.pending.push(b',');
                    }
                    let renamed = member.and_then(|member| member.rename.as_deref());
                    self.pending.extend_from_slice(renamed.unwrap_or(&self.key));
                    self.pending.push(b':');
                }
                mode
            }
        };
    }

    fn begin_value(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), NotJson> {
        let container = matches!(byte, b'{' | b'[');
        let (parent, top) = (self.frames.last().copied(), self.frames.is_empty());
        let mut mode = match parent {
            Some(frame) if !frame.object => frame.mode,
            _ => self.value_mode,
        };
        if let (Mode::Node(node), false) = (mode, container) {
            // Where only parts are kept, what has no parts is not kept; a document of one value has none to hide.
            mode = if self.plan.node(node).keep_only && !top { Mode::Skip } else { Mode::Pass };
        }
        if top {
            out.extend_from_slice(self.plan.before());
        }
        if mode != Mode::Skip
            && let Some(frame) = self.frames.last_mut()
        {
            match (frame.object, frame.mode) {
                (true, Mode::Node(_)) => {
                    out.append(&mut self.pending);
                    frame.wrote = true;
                    frame.seen |= self.value_bit;
                }
                (true, _) => {}
                (false, _) => {
                    if std::mem::replace(&mut frame.wrote, true) {
                        out.push(b',');
                    }
                }
            }
        }
        self.sink = if mode == Mode::Skip { Sink::Nowhere } else { Sink::Out };
        self.in_key = false;
        self.state = match byte {
            b'{' | b'[' => {
                if self.frames.len() >= self.plan.max_depth() {
                    return Err(NotJson);
                }
                let object = byte == b'{';
                self.frames.push(Frame { object, mode, wrote: false, seen: 0 });
                if object { State::KeyOrEnd } else { State::ValueOrEnd }
            }
            b'"' => State::Text,
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Whole),
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            _ => return Err(NotJson),
        };
        self.put(&[byte], out);
        Ok(())
    }

    fn end_value(&mut self) {
        self.state = if self.frames.is_empty() { State::Done } else { State::After };
    }

    fn close(&mut self, object: bool, out: &mut Vec<u8>) -> Result<(), NotJson> {
        let frame = self.frames.pop().filter(|frame| frame.object == object).ok_or(NotJson)?;
        if let (Mode::Node(node), true) = (frame.mode, object) {
            self.add_missing(node, frame.wrote, frame.seen, out);
        }
        if frame.mode != Mode::Skip {
            out.push(if object { b'}' } else { b']' });
        }
        self.end_value();
        Ok(())
    }

    /// Writes what the plan sets in an object, and the objects that it needs for that.
    fn add_missing(&self, node: usize, mut wrote: bool, seen: u64, out: &mut Vec<u8>) {
        let node = self.plan.node(node);
        let mut comma = |out: &mut Vec<u8>| {
            if std::mem::replace(&mut wrote, true) {
                out.push(b',');
            }
        };
        for set in &node.sets {
            let value = match &set.value {
                SetValue::Fixed(bytes) => bytes,
                SetValue::Rendered(index) => match self.rendered.get(*index) {
                    Some(Some(bytes)) => bytes.as_slice(),
                    _ => continue,
                },
            };
            comma(out);
            out.extend_from_slice(&set.key);
            out.push(b':');
            out.extend_from_slice(value);
        }
        for (bit, key, below) in &node.makes {
            if seen & bit == 0 {
                comma(out);
                out.extend_from_slice(key);
                out.extend_from_slice(b":{");
                self.add_missing(*below, false, 0, out);
                out.push(b'}');
            }
        }
    }
}

impl Number {
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::E,
            (Self::E, b'+' | b'-') => Self::Sign,
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Self::Exponent,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Exponent)
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
