//! Frames as RFC 6455 section 5.2 draws them: where one begins, where it ends, and whether it may be.
//! Reads headers only; payloads pass masked and compressed as they are. Not for what to do about it.

/// The longest head of a frame: two bytes, a length of eight, a masking key.
pub(crate) const LONGEST_HEAD: usize = 14;
/// The longest payload of a control frame (5.5).
const LONGEST_CONTROL: usize = 125;

/// What a side may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Clients mask, servers do not (5.1).
    pub(crate) masked: bool,
    /// The reserved bits that a negotiated extension has given a meaning, where they stand in the first byte.
    pub(crate) reserved: u8,
    pub(crate) max_frame: u64,
    pub(crate) max_message: u64,
}

/// A rule that a frame breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    ReservedBits,
    Opcode,
    Masking,
    Control,
    Length,
    Sequence,
    TooBig,
}

impl Violation {
    /// Returns what is said to the peer in the Close frame.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits",
            Self::Opcode => "reserved opcode",
            Self::Masking => "masking",
            Self::Control => "control frame",
            Self::Length => "frame length",
            Self::Sequence => "fragment sequence",
            Self::TooBig => "too big",
        }
    }
}

/// The kinds of frames that are taken whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Close,
    Ping,
    Pong,
}

/// What stands next in the bytes of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes of a data frame; `begins` when its head is among them.
    Data { len: usize, begins: bool },
    /// A whole control frame of so many bytes.
    Control { kind: Control, len: usize },
    /// The head of a frame, or a control frame, that has not come to its end.
    More,
}

/// Where one side is in its frames.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    rules: Rules,
    /// How much of the present data frame's payload has not come.
    rest: u64,
    /// How much the present message has so far; nothing between messages.
    message: Option<u64>,
    /// Whether the present data frame is the last of its message.
    last: bool,
}

impl Frames {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, rest: 0, message: None, last: true }
    }

    /// Says whether a frame may be put in here.
    pub(crate) fn between(&self) -> bool {
        self.rest == 0
    }

    /// Says what the bytes begin with.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        if self.rest > 0 {
            let len = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
            self.rest -= len as u64;
            return Ok(if len == 0 { Step::More } else { Step::Data { len, begins: false } });
        }
        let [first, second, ..] = *bytes else { return Ok(Step::More) };
        let (fin, opcode, length) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
        if (second & 0x80 != 0) != self.rules.masked {
            return Err(Violation::Masking);
        }
        match opcode {
            0x0..=0x2 => self.data(bytes, fin, opcode),
            0x8..=0xa => control(bytes, fin, opcode, usize::from(length)),
            _ => Err(Violation::Opcode),
        }
    }

    fn data(&mut self, bytes: &[u8], fin: bool, opcode: u8) -> Result<Step, Violation> {
        let goes_on = opcode == 0;
        // Reserved bits belong to the first frame of a message (RFC 7692 section 6.1).
        let meant = if goes_on { 0 } else { self.rules.reserved };
        if bytes[0] & 0x70 & !meant != 0 {
            return Err(Violation::ReservedBits);
        }
        if goes_on != self.message.is_some() {
            return Err(Violation::Sequence);
        }
        let Some((payload, head)) = length(bytes)? else { return Ok(Step::More) };
        let message = self.message.unwrap_or(0).saturating_add(payload);
        if payload > self.rules.max_frame || message > self.rules.max_message {
            return Err(Violation::TooBig);
        }
        let head = head + if self.rules.masked { 4 } else { 0 };
        if bytes.len() < head {
            return Ok(Step::More);
        }
        let here = usize::try_from(payload).unwrap_or(usize::MAX).min(bytes.len() - head);
        self.rest = payload - here as u64;
        self.last = fin;
        self.message = if fin { None } else { Some(message) };
        Ok(Step::Data { len: head + here, begins: true })
    }
}

fn control(bytes: &[u8], fin: bool, opcode: u8, length: usize) -> Result<Step, Violation> {
    if bytes[0] & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let kind = match opcode {
        0x8 => Control::Close,
        0x9 => Control::Ping,
        _ => Control::Pong,
    };
    // A Close that says something begins with a code of two bytes (5.5.1).
    if !fin || length > LONGEST_CONTROL || (kind == Control::Close && length == 1) {
        return Err(Violation::Control);
    }
    let len = 2 + if bytes[1] & 0x80 != 0 { 4 } else { 0 } + length;
    Ok(if bytes.len() < len { Step::More } else { Step::Control { kind, len } })
}

/// Reads the length of the payload, and says where it ends; the shortest way of writing it is the only one.
fn length(bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match bytes[1] & 0x7f {
        126 => match bytes.get(2..4) {
            None => Ok(None),
            Some(two) => match u16::from_be_bytes([two[0], two[1]]) {
                0..=125 => Err(Violation::Length),
                length => Ok(Some((u64::from(length), 4))),
            },
        },
        127 => {
            // The most significant bit must be 0.
            if bytes.get(2).is_some_and(|first| first & 0x80 != 0) {
                return Err(Violation::Length);
            }
            let Some(eight) = bytes.get(2..10).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) else {
                return Ok(None);
            };
            match u64::from_be_bytes(eight) {
                0..=0xffff => Err(Violation::Length),
                length => Ok(Some((length, 10))),
            }
        }
        short => Ok(Some((u64::from(short), 2))),
    }
}

/// Returns the payload of a whole control frame, without its mask.
pub(crate) fn control_payload(frame: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let masked = frame.get(1).is_some_and(|second| second & 0x80 != 0);
    let (mask, payload) = if masked {
        (frame.get(2..6).unwrap_or(&[0; 4]), frame.get(6..).unwrap_or(&[]))
    } else {
        (&[0; 4][..], frame.get(2..).unwrap_or(&[]))
    };
    payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask)
}

/// Returns a fresh masking key (RFC 6455 section 5.3).
pub(crate) fn mask() -> [u8; 4] {
    let mut mask = [0; 4];
    // Without a good source it is all zeros, which is a key like any other.
    let _ = aws_lc_rs::rand::fill(&mut mask);
    mask
}

/// Writes a control frame; `mask` is a fresh key where a client speaks.
pub(crate) fn write_control(out: &mut Vec<u8>, kind: Control, payload: &[u8], mask: Option<[u8; 4]>) {
    let payload = &payload[..payload.len().min(LONGEST_CONTROL)];
    let opcode = match kind {
        Control::Close => 0x8,
        Control::Ping => 0x9,
        Control::Pong => 0xa,
    };
    let length = u8::try_from(payload.len()).expect("no more than 125");
    out.push(0x80 | opcode);
    match mask {
        None => {
            out.push(length);
            out.extend_from_slice(payload);
        }
        Some(mask) => {
            out.push(0x80 | length);
            out.extend_from_slice(&mask);
            out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
}

#[cfg(test)]
mod tests;
