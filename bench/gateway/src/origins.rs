//! Origins that nginx cannot be: one that echoes WebSocket messages, one that swallows uploads. They run on
//! threads of this process, on the load's core. Not for event streams; `streams` sends those itself.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use measure::Outcome;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const LISTENER: u64 = u64::MAX;

/// Starts an origin that answers every message with itself; it ends with the process.
pub fn echo() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    std::thread::Builder::new().name("echo".to_owned()).spawn(move || {
        let (mut peers, mut number, mut scratch) = (HashMap::<u64, Socket>::new(), 0_u64, vec![0; 64 * 1024]);
        let mut events = Vec::with_capacity(256);
        while matches!(epoll::wait(&epoll, spare_capacity(&mut events), None), Ok(_) | Err(rustix::io::Errno::INTR)) {
            for event in events.drain(..) {
                let place = event.data.u64();
                if place == LISTENER {
                    while let Ok((stream, _)) = listener.accept() {
                        number += 1;
                        let made = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
                        let data = epoll::EventData::new_u64(number);
                        if made.is_ok() && epoll::add(&epoll, &stream, data, epoll::EventFlags::IN).is_ok() {
                            peers.insert(number, Socket { stream, unread: Vec::new(), open: false });
                        }
                    }
                } else if peers.get_mut(&place).is_some_and(|socket| socket.serve(&mut scratch).is_err()) {
                    peers.remove(&place);
                }
            }
        }
    })?;
    Ok(address)
}

struct Socket {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Whether it speaks in frames by now.
    open: bool,
}

impl Socket {
    fn serve(&mut self, scratch: &mut [u8]) -> std::io::Result<()> {
        let read = match self.stream.read(scratch) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.unread.extend_from_slice(&scratch[..read]);
        let mut answer = Vec::new();
        if !self.open {
            let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
            let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
            self.unread.drain(..end + 4);
            self.open = true;
            answer = welcome(&head).into_bytes();
        }
        while let Some((length, echoed)) = echoed(&self.unread) {
            self.unread.drain(..length);
            answer.extend(echoed);
        }
        self.stream.write_all(&answer)
    }
}

fn welcome(head: &str) -> String {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{GUID}", key.unwrap_or_default()).as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(hash)
    )
}

/// Returns the length of the first frame and the frame that answers it; only short ones come.
fn echoed(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (&[kind, length], rest) = bytes.split_first_chunk::<2>()?;
    let size = usize::from(length & 0x7F);
    let (mask, payload) = rest.split_at_checked(4)?;
    let payload = payload.get(..size)?;
    let mut answer = vec![kind, size as u8];
    answer.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Some((6 + size, answer))
}

/// Starts an origin that reads bodies to their end and says how long they were; it ends with the process.
pub fn sink() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(swallow(stream)));
        }
    })?;
    Ok(address)
}

fn swallow(mut stream: TcpStream) -> std::io::Result<()> {
    let mut scratch = vec![0; 256 * 1024];
    loop {
        let mut head = Vec::new();
        let end = loop {
            let read = stream.read(&mut scratch)?;
            if read == 0 {
                return Ok(());
            }
            head.extend_from_slice(&scratch[..read]);
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let sized = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<u64>().ok());
        if text.contains("\r\nexpect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (mut come, mut tail) = ((head.len() - end) as u64, head.split_off(end));
        // Without a length the last chunk is the end.
        while sized.map_or(!tail.ends_with(b"0\r\n\r\n") && text.contains("chunked"), |length| come < length) {
            let read = stream.read(&mut scratch)?;
            if read == 0 {
                return Ok(());
            }
            come += read as u64;
            tail = [&tail[tail.len().saturating_sub(4)..], &scratch[..read][read.saturating_sub(8)..]].concat();
        }
        let body = come.to_string();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_echoed_without_its_mask() {
        let frame = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        assert_eq!(echoed(&frame), Some((8, vec![0x81, 2, b'h', b'i'])));
        assert!((0..8).all(|cut| echoed(&frame[..cut]).is_none()));
    }

    #[test]
    fn a_key_is_answered_as_in_the_standard() {
        assert!(
            welcome("GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
                .contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }
}
