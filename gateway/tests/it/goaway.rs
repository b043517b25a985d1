//! How HTTP/2 connections end when the server stops, frame by frame (RFC 9113, section 6.8): no client library
//! in between that could lose something itself. Not for whole fleets of clients: see `zero_drop`.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway::Drain;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::flapping::Flapping;
use crate::front::{Front, Setting};
use crate::member;

const LIMIT: Duration = Duration::from_secs(20);
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
[[routes]]
path = "/probe"
upstream = "origin"
"#;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A client that writes frames.
struct Client {
    socket: TcpStream,
    next: u32,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header's text as HPACK has it without Huffman's code (RFC 7541, section 5.2).
fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
}

impl Client {
    async fn connect(front: &Front) -> Self {
        let mut socket = TcpStream::connect(front.address).await.expect("a connection");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("a preface");
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("settings");
        Self { socket, next: 1 }
    }

    /// Returns the frame that opens the next stream, and the stream.
    fn open(&mut self, has_body: bool) -> (u32, Vec<u8>) {
        let stream = self.next;
        self.next += 2;
        // GET or POST, http, and the rest as literals that are not indexed.
        let method: u8 = if has_body { 0x83 } else { 0x82 };
        let block = [
            vec![method, 0x86, 0x04],
            text("/probe"),
            vec![0x01],
            text("localhost"),
            vec![0x0f, 0x08],
            text("Bearer one"),
            vec![0x00],
            text("x-probe"),
            text(&stream.to_string()),
        ];
        let end = if has_body { 0 } else { END_STREAM };
        (stream, frame(HEADERS, END_HEADERS | end, stream, &block.concat()))
    }

    /// Returns the next frame; none at the end of the connection.
    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.socket.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
            Err(error) => panic!("the connection is cut off: {error}"),
        }
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.socket.read_exact(&mut payload).await.expect("a whole frame");
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}

fn last_stream(goaway: &Frame) -> u32 {
    assert_eq!(goaway.payload[4..8], [0; 4], "NO_ERROR");
    u32::from_be_bytes(goaway.payload[..4].try_into().expect("four bytes"))
}

/// A client goes on opening streams as long as it may, and while the farewell is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_up_to_the_last_that_is_named_is_answered_and_no_other_is_begun() {
    let origin = Flapping::start();
    let front = Front::before(&DECLARED.replace("ORIGIN", &origin.address.to_string()), Setting::default());
    front.tokens.add("one", &member("tok_1"));
    let mut client = Client::connect(&front).await;
    let draining = front.server.drain(Drain { notice: Duration::from_millis(100), limit: Duration::from_secs(15) });
    let draining = tokio::spawn(draining);
    // Its body comes when all is said.
    let (slow, opening) = client.open(true);
    client.socket.write_all(&opening).await.expect("sent");
    for _ in 0..8 {
        let (_, opening) = client.open(false);
        client.socket.write_all(&opening).await.expect("sent");
    }
    let (mut answered, mut farewells, mut before_answer) = (BTreeMap::<u32, bool>::new(), Vec::new(), 0);
    let conversation = async {
        while let Some(got) = client.read().await {
            match got.kind {
                SETTINGS if got.flags & ACK == 0 => {
                    client.socket.write_all(&frame(SETTINGS, ACK, 0, &[])).await.expect("sent");
                }
                GOAWAY => farewells.push(last_stream(&got)),
                // The round trip that the server waits for: more is on its way before, and more comes after.
                PING if got.flags & ACK == 0 => {
                    let mut sent = Vec::new();
                    for _ in 0..20 {
                        sent.extend(client.open(false).1);
                    }
                    before_answer = client.next - 2;
                    sent.extend(frame(PING, ACK, 0, &got.payload));
                    for _ in 0..10 {
                        sent.extend(client.open(false).1);
                    }
                    client.socket.write_all(&sent).await.expect("sent");
                }
                HEADERS => assert_eq!((answered.insert(got.stream, false), got.payload[0]), (None, 0x88), "200, once"),
                RESET => panic!("stream {} is reset: {:?}", got.stream, got.payload),
                _ => {}
            }
            if matches!(got.kind, DATA | HEADERS) && got.flags & END_STREAM != 0 {
                answered.insert(got.stream, true);
                // One for one, as long as nobody says otherwise.
                if farewells.is_empty() {
                    let (_, opening) = client.open(false);
                    client.socket.write_all(&opening).await.expect("sent");
                }
            }
            if farewells.len() == 2 && answered.len() + 1 == farewells[1].div_ceil(2) as usize {
                let all_else = answered.values().all(|ended| *ended);
                if all_else && !answered.contains_key(&slow) {
                    client.socket.write_all(&frame(DATA, END_STREAM, slow, b"late")).await.expect("sent");
                }
            }
        }
    };
    tokio::time::timeout(LIMIT, conversation).await.expect("an end");
    assert_eq!(farewells[0], (1 << 31) - 1, "the first farewell names no stream");
    let last = *farewells.last().expect("a farewell");
    assert!(farewells.len() >= 2 && last >= before_answer, "{farewells:?}, {before_answer} was sent before the answer");
    assert!(farewells[1..].iter().all(|named| *named == last), "{farewells:?}");
    for stream in (1..client.next).step_by(2) {
        let seen = origin.has_seen(&stream.to_string());
        assert_eq!((answered.get(&stream) == Some(&true), seen), (stream <= last, stream <= last), "stream {stream}");
    }
    tokio::time::timeout(LIMIT, draining).await.expect("in time").expect("drained");
}
