//! The least reading of HTTP/1.1 answers that a load needs: when one is complete, and its status. Not for
//! anybody who must understand every server.

use std::io::{Error, ErrorKind};

/// An answer that is being read.
#[derive(Debug, Default)]
pub struct Answer {
    head: Vec<u8>,
    status: u16,
    body: Body,
    /// How many bytes the body had so far, without the frames of its chunks.
    pub length: u64,
}

#[derive(Debug, Default)]
enum Body {
    #[default]
    NotYet,
    Sized(u64),
    Chunk(Chunk),
}

#[derive(Clone, Copy, Debug)]
enum Chunk {
    Size(u64),
    Extension(u64),
    Data(u64),
    End,
    /// In the trailer: how long its line is so far.
    Trailer(usize),
}

impl Answer {
    /// Takes what came; returns the status once the answer is complete. Nothing may follow it: a client that
    /// does not pipeline gets one answer at a time.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Option<u16>, Error> {
        if matches!(self.body, Body::NotYet) {
            let known = self.head.len();
            self.head.extend_from_slice(bytes);
            let from = known.saturating_sub(3);
            let Some(end) = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
            bytes = &bytes[from + end + 4 - known..];
            self.read_head(from + end)?;
        }
        let done = match &mut self.body {
            Body::NotYet => false,
            Body::Sized(left) => {
                self.length += bytes.len() as u64;
                *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| broken("more than was announced"))?;
                *left == 0
            }
            Body::Chunk(chunk) => {
                let (done, data) = chunk.walk(bytes)?;
                self.length += data;
                done
            }
        };
        if !done {
            return Ok(None);
        }
        self.head.clear();
        self.body = Body::NotYet;
        Ok(Some(self.status))
    }

    /// Forgets what has been read.
    pub fn begin(&mut self) {
        self.head.clear();
        self.body = Body::NotYet;
        self.length = 0;
    }

    fn read_head(&mut self, end: usize) -> Result<(), Error> {
        let mut lines = self.head[..end].split(|byte| *byte == b'\n');
        let status = lines.next().and_then(|line| std::str::from_utf8(line.get(9..12)?).ok()?.parse().ok());
        self.status = status.ok_or_else(|| broken("no status"))?;
        for line in lines {
            if let Some(value) = header(line, b"content-length:") {
                let length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
                self.body = Body::Sized(length.ok_or_else(|| broken("a length that is none"))?);
                return Ok(());
            }
            if header(line, b"transfer-encoding:").is_some() {
                self.body = Body::Chunk(Chunk::Size(0));
                return Ok(());
            }
        }
        Err(broken("neither a length nor chunks"))
    }
}

impl Chunk {
    /// Walks over what came; says whether the last chunk ended, and how many bytes of data there were.
    fn walk(&mut self, mut bytes: &[u8]) -> Result<(bool, u64), Error> {
        let mut data = 0;
        while let Some((&byte, rest)) = bytes.split_first() {
            let mut next = rest;
            *self = match (*self, byte) {
                (Self::Size(size) | Self::Extension(size), b'\n') => {
                    if size == 0 {
                        Self::Trailer(0)
                    } else {
                        Self::Data(size)
                    }
                }
                (Self::Size(size), b';' | b'\r') | (Self::Extension(size), _) => Self::Extension(size),
                (Self::Size(size), digit) => match char::from(digit).to_digit(16) {
                    Some(digit) => Self::Size(size * 16 + u64::from(digit)),
                    None => return Err(broken("a chunk without a size")),
                },
                (Self::Data(left), _) => {
                    let taken = left.min(bytes.len() as u64);
                    next = &bytes[taken as usize..];
                    data += taken;
                    if taken == left { Self::End } else { Self::Data(left - taken) }
                }
                (Self::End, b'\n') => Self::Size(0),
                (Self::End, _) => Self::End,
                (Self::Trailer(0), b'\n') => return Ok((true, data)),
                (Self::Trailer(_), b'\n') => Self::Trailer(0),
                (Self::Trailer(length), b'\r') => Self::Trailer(length),
                (Self::Trailer(length), _) => Self::Trailer(length + 1),
            };
            bytes = next;
        }
        Ok((false, data))
    }
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n";

    #[test]
    fn an_answer_is_complete_wherever_it_is_cut() {
        for (bytes, status, length) in [(SIZED, 200, 5), (CHUNKED, 404, 6)] {
            for cut in 0..bytes.len() {
                let mut answer = Answer::default();
                assert_eq!(answer.take(&bytes[..cut]).expect("sound"), None, "{cut}");
                assert_eq!(answer.take(&bytes[cut..]).expect("sound"), Some(status), "{cut}");
                assert_eq!(answer.length, length);
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wrong in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"nonsense, and a lot of it\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        ] {
            assert!(Answer::default().take(wrong).is_err());
        }
    }
}
