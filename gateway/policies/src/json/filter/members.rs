//! What the filter does with members, elements and the ends of objects: where the plan is consulted. Not for
//! reading bytes.

use super::number::Number;
use super::{Filter, Frame, Mode, NotJson, Sink, State};
use crate::json::plan::SetValue;

impl Filter {
    pub(super) fn begin_key(&mut self, out: &mut Vec<u8>) {
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
    pub(super) fn give_up_key(&mut self, out: &mut Vec<u8>) {
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
    pub(super) fn end_key(&mut self) {
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

    pub(super) fn begin_value(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), NotJson> {
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

    pub(super) fn end_value(&mut self) {
        self.state = if self.frames.is_empty() { State::Done } else { State::After };
    }

    pub(super) fn close(&mut self, object: bool, out: &mut Vec<u8>) -> Result<(), NotJson> {
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
