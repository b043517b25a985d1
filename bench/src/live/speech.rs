//! What a client of a live interface says and hears, as bytes: event streams, WebSockets, Socket.IO.
//! The least that a measurement needs, the same for Portico and its peers. Not for sockets.

/// Which interface a visitor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Server-sent events.
    Stream,
    /// A plain WebSocket.
    WebSocket,
    /// Socket.IO over WebSocket only.
    SocketIo,
}

/// What a visitor sends.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub speech: Speech,
    /// The HTTP request that opens it.
    pub request: Vec<u8>,
    /// What a Socket.IO client brings in its first packet, as JSON.
    pub auth: String,
}

impl Visitor {
    /// Returns a visitor of a path, with a bearer token or without.
    pub fn new(speech: Speech, path: &str, token: Option<&str>) -> Self {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let more = match speech {
            Speech::Stream => "Accept: text/event-stream\r\n".to_owned(),
            Speech::WebSocket | Speech::SocketIo => "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                .to_owned(),
        };
        // A Socket.IO client brings its token in its first packet, not in the request.
        let (bearer, auth) = match (speech, token) {
            (Speech::SocketIo, Some(token)) => (String::new(), serde_json::json!({ "token": token }).to_string()),
            _ => (bearer, String::new()),
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{bearer}{more}\r\n").into_bytes();
        Self { speech, request, auth }
    }

    /// Returns the status that opens it.
    pub fn welcome(&self) -> u16 {
        if self.speech == Speech::Stream { 200 } else { 101 }
    }
}

/// What one connection has heard and not yet understood.
#[derive(Debug, Default)]
pub struct Hearing {
    rest: Vec<u8>,
    /// How far into `\nevent:` an event stream is.
    matched: usize,
}

/// What became of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// How many events there were.
    pub events: u64,
    /// What has to be answered.
    pub reply: Vec<u8>,
    /// Whether it is the end.
    pub closed: bool,
    /// Whether a Socket.IO server has let it in.
    pub joined: bool,
}

impl Hearing {
    /// Takes bytes in.
    pub fn hear(&mut self, visitor: &Visitor, bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        if visitor.speech == Speech::Stream {
            heard.events = self.count_names(bytes);
            return heard;
        }
        self.rest.extend_from_slice(bytes);
        while let Some((opcode, start, end)) = frame(&self.rest) {
            let payload = &self.rest[start..end];
            match opcode {
                1 | 2 if visitor.speech == Speech::SocketIo => packet(payload, visitor, &mut heard),
                1 | 2 => heard.events += 1,
                8 => heard.closed = true,
                9 => heard.reply.extend(masked(10, payload)),
                _ => {}
            }
            self.rest.drain(..end);
        }
        // An idle connection of the client costs nothing either.
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        heard
    }

    /// Counts events by their names: each has one line of it, and a sign of life has none.
    fn count_names(&mut self, bytes: &[u8]) -> u64 {
        const LINE: &[u8; 7] = b"\nevent:";
        let mut events = 0;
        for &byte in bytes {
            self.matched = match byte {
                _ if byte == LINE[self.matched] => self.matched + 1,
                b'\n' => 1,
                _ => 0,
            };
            if self.matched == LINE.len() {
                (events, self.matched) = (events + 1, 0);
            }
        }
        events
    }
}

/// Answers one packet of Engine.IO 4.
fn packet(payload: &[u8], visitor: &Visitor, heard: &mut Heard) {
    match payload {
        [b'0', ..] => heard.reply.extend(masked(1, format!("40{}", visitor.auth).as_bytes())),
        [b'2', ..] => heard.reply.extend(masked(1, b"3")),
        [b'4', b'0', ..] => heard.joined = true,
        [b'4', b'2', ..] => heard.events += 1,
        [b'1', ..] | [b'4', b'1' | b'4', ..] => heard.closed = true,
        _ => {}
    }
}

/// Returns the first whole frame: its opcode, and where its payload is. Servers do not mask.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, length) = (bytes.first()? & 0x0F, bytes.get(1)? & 0x7F);
    let (start, length): (usize, usize) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let end = start.checked_add(length)?;
    (bytes.len() >= end).then_some((opcode, start, end))
}

/// Returns a frame of a client; the mask is of zeros.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_the_bytes_are_cut() {
        let visitor = Visitor::new(Speech::Stream, "/", None);
        let bytes = b"\r\n9\r\n: hello\n\nid: e.1\nevent: a\ndata: \\nevent:\n\n\nid: e.2\n\nid: e.3\n\nevent: b\n\n";
        for cut in 0..bytes.len() {
            let mut hearing = Hearing::default();
            let events = hearing.hear(&visitor, &bytes[..cut]).events + hearing.hear(&visitor, &bytes[cut..]).events;
            assert_eq!(events, 2, "cut at {cut}");
        }
    }

    #[test]
    fn frames_are_read_and_answered_wherever_they_are_cut() {
        let visitor = Visitor::new(Speech::SocketIo, "/", Some("t"));
        let mut bytes = b"\x81\x030{}\x81\x0440{}\x81\x012\x89\x02hi\x81\x7e\x00\x80".to_vec();
        bytes.extend(format!("42{:126}", "").bytes());
        for cut in 0..bytes.len() {
            let mut hearing = Hearing::default();
            let (first, then) = (hearing.hear(&visitor, &bytes[..cut]), hearing.hear(&visitor, &bytes[cut..]));
            assert_eq!((first.events + then.events, first.joined || then.joined), (1, true), "cut at {cut}");
            let reply = [first.reply, then.reply].concat();
            assert_eq!(reply, b"\x81\x8f\0\0\0\x0040{\"token\":\"t\"}\x81\x81\0\0\0\x003\x8a\x82\0\0\0\0hi");
        }
    }
}
