//! Reads the headers of HTTP/2's frames as bytes go by (RFC 9113, section 4.1), and of the payload what concerns
//! windows. Not for judging them.

/// The length of a frame's header.
pub(crate) const HEADER: usize = 9;

/// How far the frames of one direction were read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// How much is to be passed over before the next frame's header.
    skip: usize,
    header: [u8; HEADER],
    /// How much of the header is there.
    have: usize,
    /// What is looked at in the payload: settings, or the increment of a window.
    unit: [u8; 6],
    unit_length: usize,
    unit_have: usize,
}

/// What was read of a frame.
pub(crate) enum Seen {
    Header { kind: u8, flags: u8, stream: u32, length: usize },
    Unit { kind: u8, stream: u32, unit: [u8; 6] },
}

impl Reading {
    /// Begins behind so many bytes.
    pub(crate) fn new(skip: usize) -> Self {
        Self { skip, header: [0; HEADER], have: 0, unit: [0; 6], unit_length: 0, unit_have: 0 }
    }

    /// Reads on until there is something to see.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Option<Seen> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let (all, wanted) = (self.skip.min(bytes.len()), self.unit_length - self.unit_have);
                let here = if self.unit_length == 0 { all } else { all.min(wanted) };
                if self.unit_length > 0 {
                    self.unit[self.unit_have..self.unit_have + here].copy_from_slice(&bytes[..here]);
                    self.unit_have += here;
                }
                (self.skip, *bytes) = (self.skip - here, &bytes[here..]);
                if self.unit_length > 0 && self.unit_have == self.unit_length {
                    self.unit_have = 0;
                    return Some(Seen::Unit { kind: self.header[3], stream: self.stream(), unit: self.unit });
                }
                continue;
            }
            let here = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + here].copy_from_slice(&bytes[..here]);
            (self.have, *bytes) = (self.have + here, &bytes[here..]);
            if self.have == HEADER {
                let [a, b, c, kind, flags, ..] = self.header;
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                (self.have, self.skip, self.unit_have) = (0, length, 0);
                self.unit_length = match kind {
                    4 => 6,
                    8 => 4,
                    _ => 0,
                };
                return Some(Seen::Header { kind, flags, stream: self.stream(), length });
            }
        }
        None
    }

    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.header;
        u32::from_be_bytes([a & 0x7f, b, c, d])
    }
}
