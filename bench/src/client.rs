//! The least HTTP/1.1 that a measurement needs: one keep-alive connection, one request at a time,
//! bytes that are made before the clock runs. It blocks, so that a thread can send at the very
//! microsecond; the flood has one that does not. Not for anybody who must understand every server.

use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a text of the JSON body.
    pub fn text(&self, key: &str) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body[key].as_str().map(str::to_owned)
    }
}

/// Returns a GET, with a bearer token or without.
pub fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{bearer}\r\n").into_bytes()
}

/// Returns a POST of JSON, as a trusted proxy passes it on for the client of this number.
pub fn post(path: &str, body: &str, client: u32) -> Vec<u8> {
    let from = std::net::Ipv4Addr::from(0x0A00_0000 | (client & 0x00FF_FFFF));
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nX-Forwarded-For: {from}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Returns a POST of JSON with a bearer token; an empty one is left out.
pub fn post_as(path: &str, body: &str, token: &str) -> Vec<u8> {
    let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\n{bearer}Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads an answer once all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<Answer>, Error> {
    let broken = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| broken("a head that is not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let (Some(status), Some(length)) = (status, length) else { return Err(broken("no status or no length")) };
    let body = &bytes[end + 4..];
    Ok((body.len() >= length).then(|| Answer { status, body: body[..length].to_vec() }))
}

fn closed() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")
}

/// A connection whose caller waits.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    /// Sends a request and waits for its answer.
    pub fn send(&mut self, request: &[u8]) -> Result<Answer, Error> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut chunk = [0; 8 * 1024];
        loop {
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(closed());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
            if let Some(answer) = parse(&self.buffer)? {
                return Ok(answer);
            }
        }
    }

    /// Sends a request, insists on 200, and says how long the answer took.
    pub fn timed(&mut self, request: &[u8]) -> Result<(Answer, Duration), Error> {
        let began = Instant::now();
        let answer = self.send(request)?;
        let took = began.elapsed();
        match answer.status {
            200 => Ok((answer, took)),
            status => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                Err(Error::other(format!("answered {status}: {body}")))
            }
        }
    }
}

/// A connection of which a thread can hold many.
pub struct LightConnection {
    stream: tokio::net::TcpStream,
    buffer: Vec<u8>,
}

impl LightConnection {
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(2 * 1024) })
    }

    /// Sends a request and waits for its answer.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer, Error> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(closed());
            }
            if let Some(answer) = parse(&self.buffer)? {
                return Ok(answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_complete() {
        let whole = b"HTTP/1.1 401 Unauthorized\r\nX: y\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}";
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).expect("sound so far").is_none());
        }
        let answer = parse(whole).expect("sound").expect("complete");
        assert_eq!((answer.status, answer.text("a").as_deref()), (401, Some("b")));
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
