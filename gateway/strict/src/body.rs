//! A body in chunks (RFC 9112, section 7.1), byte by byte but for the data. Not for the trailers.

use crate::refusal::Refusal;
use crate::syntax::is_tchar;

/// How many digits the size of a chunk may have: what is left of 64 bits without the sign.
const DIGITS: u8 = 15;

/// Where in the chunks the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the digits of a size.
    Size { digits: u8, size: u64 },
    /// In an extension.
    Extension { size: u64, part: Part },
    /// Before the LF of a size line.
    SizeEnd { size: u64 },
    /// In the data, with this much to come.
    Data { left: u64 },
    /// Before the CR behind the data.
    DataEnd,
    /// Before the LF behind the data.
    DataLine,
    /// Behind the line of the last chunk.
    Trailers,
}

/// Where in an extension the next byte is: `;name`, `;name=token` or `;name="quoted"`, without white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Name { begun: bool },
    Value { begun: bool },
    Quoted,
    Escaped,
    After,
}

/// A body in chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks {
    pub(crate) place: Place,
    extensions: usize,
    total: u64,
}

impl Chunks {
    /// Returns a body of which nothing has come.
    pub(crate) fn new() -> Self {
        Self { place: Place::Size { digits: 0, size: 0 }, extensions: 0, total: 0 }
    }

    /// Reads on, and returns how many bytes it has read; less than all only before the trailers.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        extension_limit: usize,
        body_limit: u64,
    ) -> (usize, Result<(), Refusal>) {
        let mut at = 0;
        while at < bytes.len() && self.place != Place::Trailers {
            if let Place::Data { left } = self.place {
                let here = left.min((bytes.len() - at) as u64);
                at += here as usize;
                self.place = if here == left { Place::DataEnd } else { Place::Data { left: left - here } };
                continue;
            }
            match self.step(bytes[at], extension_limit, body_limit) {
                Ok(place) => self.place = place,
                Err(refusal) => return (at, Err(refusal)),
            }
            at += 1;
        }
        (at, Ok(()))
    }

    fn step(&mut self, byte: u8, extension_limit: usize, body_limit: u64) -> Result<Place, Refusal> {
        match self.place {
            Place::Size { digits, size } => match (byte as char).to_digit(16) {
                Some(_) if digits >= DIGITS => Err(Refusal::ChunkSize),
                Some(digit) => Ok(Place::Size { digits: digits + 1, size: size * 16 + u64::from(digit) }),
                None if digits == 0 => Err(Refusal::ChunkSize),
                None if byte == b'\r' => Ok(Place::SizeEnd { size }),
                None if byte == b';' => Ok(Place::Extension { size, part: Part::Name { begun: false } }),
                None => Err(Refusal::ChunkSize),
            },
            Place::Extension { size, part } => {
                self.extensions += 1;
                if self.extensions > extension_limit {
                    return Err(Refusal::ChunkExtension);
                }
                match (part, byte) {
                    (Part::Name { begun: true } | Part::Value { begun: true } | Part::After, b'\r') => {
                        Ok(Place::SizeEnd { size })
                    }
                    _ => Ok(Place::Extension { size, part: part.step(byte)? }),
                }
            }
            Place::SizeEnd { size } if byte == b'\n' => {
                self.total = self.total.saturating_add(size);
                match size {
                    0 => Ok(Place::Trailers),
                    _ if self.total > body_limit => Err(Refusal::BodyTooLarge),
                    left => Ok(Place::Data { left }),
                }
            }
            Place::SizeEnd { .. } => Err(Refusal::ChunkSize),
            Place::DataEnd if byte == b'\r' => Ok(Place::DataLine),
            Place::DataLine if byte == b'\n' => Ok(Place::Size { digits: 0, size: 0 }),
            Place::DataEnd | Place::DataLine => Err(Refusal::ChunkEnd),
            Place::Data { .. } | Place::Trailers => Ok(self.place),
        }
    }
}

impl Part {
    fn step(self, byte: u8) -> Result<Self, Refusal> {
        let text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        match (self, byte) {
            (Self::Name { .. }, _) if is_tchar(byte) => Ok(Self::Name { begun: true }),
            (Self::Name { begun: true }, b'=') => Ok(Self::Value { begun: false }),
            (Self::Value { begun: false }, b'"') => Ok(Self::Quoted),
            (Self::Value { .. }, _) if is_tchar(byte) => Ok(Self::Value { begun: true }),
            (Self::Name { begun: true } | Self::Value { begun: true } | Self::After, b';') => {
                Ok(Self::Name { begun: false })
            }
            (Self::Quoted, b'"') => Ok(Self::After),
            (Self::Quoted, b'\\') => Ok(Self::Escaped),
            (Self::Quoted | Self::Escaped, _) if text => Ok(Self::Quoted),
            _ => Err(Refusal::ChunkExtension),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (usize, Result<(), Refusal>) {
        let mut chunks = Chunks::new();
        let at_once = chunks.read(body.as_bytes(), 64, 1 << 40);
        let mut slowly = Chunks::new();
        let mut at = 0;
        for byte in body.as_bytes().chunks(1) {
            let (read, result) = slowly.read(byte, 64, 1 << 40);
            at += read;
            if read == 0 || result.is_err() {
                assert_eq!((at, result), at_once, "{body:?}");
                return at_once;
            }
        }
        assert_eq!(slowly.place, chunks.place);
        at_once
    }

    #[test]
    fn chunks_are_read_up_to_the_trailers() {
        for body in [
            "5\r\nhello\r\n0\r\n",
            "0\r\n",
            "000a;a=b;c=\"d;\\\"e\"\r\n0123456789\r\n0;x\r\n",
            "A\r\n0123456789\r\n00\r\n",
        ] {
            assert_eq!(read(&format!("{body}\r\nGET")), (body.len(), Ok(())), "{body:?}");
        }
    }

    #[test]
    fn what_is_not_a_chunk_is_refused_where_it_goes_wrong() {
        for (body, at, refusal) in [
            ("\r\n", 0, Refusal::ChunkSize),
            ("0x5\r\nhello", 1, Refusal::ChunkSize),
            ("+5\r\n", 0, Refusal::ChunkSize),
            ("-5\r\n", 0, Refusal::ChunkSize),
            (" 5\r\n", 0, Refusal::ChunkSize),
            ("5 \r\n", 1, Refusal::ChunkSize),
            ("5\n", 1, Refusal::ChunkSize),
            ("5\rx", 2, Refusal::ChunkSize),
            ("5_0\r\n", 1, Refusal::ChunkSize),
            ("1234567890abcdef0\r\n", 15, Refusal::ChunkSize),
            ("5;\r\n", 2, Refusal::ChunkExtension),
            ("5; a\r\n", 2, Refusal::ChunkExtension),
            ("5;a\n", 3, Refusal::ChunkExtension),
            ("5;a=\r\n", 4, Refusal::ChunkExtension),
            ("5;a=\"b\n\"\r\n", 6, Refusal::ChunkExtension),
            ("5;a\0\r\n", 3, Refusal::ChunkExtension),
            ("5\r\nhelloX", 8, Refusal::ChunkEnd),
            ("5\r\nhello\n", 8, Refusal::ChunkEnd),
            ("5\r\nhello\r5", 9, Refusal::ChunkEnd),
        ] {
            assert_eq!(read(body), (at, Err(refusal)), "{body:?}");
        }
        let (_, long) = read(&format!("5;{}\r\n", "a".repeat(65)));
        assert_eq!(long, Err(Refusal::ChunkExtension));
        let mut chunks = Chunks::new();
        let (_, large) = chunks.read(b"3\r\nabc\r\n3\r\nabc\r\n", 0, 5);
        assert_eq!(large, Err(Refusal::BodyTooLarge));
    }
}
