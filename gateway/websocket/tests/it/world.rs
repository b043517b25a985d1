//! A client and an origin that write bytes, and the proxy between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fixtures::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use ws_proxy::{Config, Life, Reason};

use crate::proxy::{self, Lives, Proxy};

const PATIENCE: Duration = Duration::from_secs(20);
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub struct World {
    pub proxy: Proxy,
    origin: TcpListener,
}

/// One end of a connection.
pub struct End {
    pub stream: TcpStream,
    /// What was read behind the head.
    read: Vec<u8>,
}

pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

impl World {
    pub async fn new(config: Config) -> Self {
        Self::with(config, Arc::new(Life::default)).await
    }

    pub async fn with(config: Config, lives: Lives) -> Self {
        let here: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let origin = TcpListener::bind(here).await.expect("a port");
        let address = origin.local_addr().expect("an address");
        Self { proxy: proxy::start(here, address, config, lives).await.expect("a port"), origin }
    }

    /// Sends a handshake with these headers more.
    pub async fn ask(&self, more: &str) -> End {
        let mut stream = TcpStream::connect(self.proxy.address).await.expect("a connection");
        let head = format!(
            "GET /socket HTTP/1.1\r\nHost: here.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        End { stream, read: Vec::new() }
    }

    /// Returns the connection that the proxy opened to the origin, and the head of its request.
    pub async fn asked(&self) -> (End, String) {
        let (stream, _) = in_time(self.origin.accept()).await.expect("a connection");
        let mut end = End { stream, read: Vec::new() };
        let head = end.head().await;
        (end, head)
    }

    /// Opens a socket.
    pub async fn open(&self) -> (End, End) {
        let mut client = self.ask("").await;
        let (mut origin, _) = self.asked().await;
        origin.agree("").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        (client, origin)
    }

    /// Waits until a socket has ended, and says why.
    pub async fn ended(&self) -> Reason {
        until("the socket has ended", async || self.proxy.ends.lock().expect("not poisoned").pop()).await
    }
}

impl End {
    /// Reads to the end of a head.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.read.split_off(at + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(head).expect("text");
            }
            assert!(self.more().await > 0, "the head ended early: {}", String::from_utf8_lossy(&self.read));
        }
    }

    async fn more(&mut self) -> usize {
        let mut room = [0; 4096];
        // A connection that is reset has ended too.
        let read = in_time(self.stream.read(&mut room)).await.unwrap_or(0);
        self.read.extend_from_slice(&room[..read]);
        read
    }

    pub async fn agree(&mut self, more: &str) {
        let accept = derive_accept_key(KEY.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
        );
        self.say(head.as_bytes()).await;
    }

    pub async fn say(&mut self, bytes: &[u8]) {
        in_time(self.stream.write_all(bytes)).await.expect("written");
    }

    /// Reads so many bytes.
    pub async fn hear(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.more().await > 0, "it ended after {:x?}", self.read);
        }
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }

    /// Reads to the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.read)
    }

    /// Reads a short frame without its mask: the first byte, and the payload.
    pub async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.hear(2).await;
        let mask = if head[1] & 0x80 != 0 { self.hear(4).await } else { vec![0; 4] };
        let payload = self.hear(usize::from(head[1] & 0x7f)).await;
        (head[0], payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
    }
}

/// Writes a short frame, masked as a client does where `mask` is there.
pub fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    match mask {
        None => [&[first, length], payload].concat(),
        Some(mask) => {
            let masked: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            [&[first, 0x80 | length], &mask[..], &masked].concat()
        }
    }
}

pub const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

pub fn close(code: u16, reason: &str) -> (u8, Vec<u8>) {
    (0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}
