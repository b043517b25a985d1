//! Makes streams of requests: well-formed ones, and ones with something wrong in a place that matters.

use crate::Dice;

const METHODS: &[&str] = &["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "M-SEARCH"];
const TARGETS: &[&str] = &["/", "/a/b?c=d", "/a%20b", "/x[1]|y?q={a}^`\\", "http://example.com/a", "/a;b=c,d", "/~a.b-c_d"];
const HEADERS: &[&str] = &[
    "Accept: */*",
    "X-Empty:",
    "X-Space:  a b\t c  ",
    "Cookie: a=b; c=d",
    "my_header: 1",
    "Connection: keep-alive, x-hop",
    "Connection: close",
    "X-High: \u{e6}\u{f8}",
    "Authorization: Bearer abc",
    "TE: trailers",
    "Expect: 100-continue",
    "!#$%&'*+-.^`|~: odd",
    "Upgrade: h2c",
];
const WRONG_HEADERS: &[&str] = &[
    "Content-Length: 5",
    "Content-Length: 3, 3",
    "Content-Length: +3",
    "Content-Length: 0x3",
    "Content-Length : 3",
    "content_length: 3",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding: chunked\u{b}",
    "Transfer-Encoding: x\r\n chunked",
    " folded: yes",
    "\tfolded: yes",
    "no colon",
    ": no name",
    "sp ace: 1",
    "Host: other",
    "Host: a b",
    "X_Forwarded_For: 1.2.3.4",
    "Connection: content-length",
    "Expect: 200-ok",
    "Bad: a\0b",
    "Bad: a\rb",
    "Bad: a\nContent-Length: 7",
    "Connection: upgrade\r\nUpgrade: websocket",
];
const SIZES: &[&str] = &["0x4", "+4", "-4", " 4", "4 ", "4;a=b", "4;a=\"b;c\"", "4;", "04", "fffffffffffffffff", "4\n", "", "4\r", "g"];
const PIECES: &[&str] = &["\r", "\n", "\r\n", "\r\n\r\n", "\0", " ", "\t", ":", "0", "0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\u{7f}", ";", "HTTP/1.1"];

/// A stream of requests.
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// How many requests it has, if nothing is wrong with it.
    pub(crate) sound: Option<usize>,
}

/// Returns a stream.
pub(crate) fn stream(dice: &mut Dice) -> Stream {
    let (mut bytes, mut sound, count) = (Vec::new(), true, 1 + dice.below(4));
    for _ in 0..count {
        sound &= request(dice, &mut bytes);
    }
    if dice.one_in(3) {
        sound = false;
        for _ in 0..=dice.below(3) {
            mutate(dice, &mut bytes);
        }
    }
    Stream { bytes, sound: sound.then_some(count) }
}

/// Adds a request, and says whether it is sound.
fn request(dice: &mut Dice, bytes: &mut Vec<u8>) -> bool {
    let mut sound = true;
    let add = |bytes: &mut Vec<u8>, text: &str| bytes.extend_from_slice(text.as_bytes());
    if dice.one_in(40) {
        sound = false;
        add(bytes, "\r\n");
    }
    let (method, mut target) = (dice.pick(METHODS), dice.pick(TARGETS));
    if method == "OPTIONS" && dice.one_in(2) {
        target = "*";
    }
    let current = !dice.one_in(6);
    add(bytes, &format!("{method} {target} HTTP/1.{}\r\n", u8::from(current)));
    let mut lines: Vec<String> = vec!["Host: example.com:8080".into()];
    let mut body = Vec::new();
    match dice.below(3) {
        0 => {}
        1 => {
            let most = if dice.one_in(10) { 5_000 } else { 40 };
            let length = dice.below(most);
            body = (0..length).map(|_| dice.pick(b"abc\r\n0 GET:\0")).collect();
            lines.push(format!("Content-Length: {length}"));
        }
        _ if current => {
            lines.push("Transfer-Encoding: chunked".into());
            sound &= chunks(dice, &mut body);
        }
        _ => {}
    }
    for _ in 0..dice.below(5) {
        let line = dice.pick(HEADERS);
        let once = ["Authorization", "Expect"].iter().any(|name| line.starts_with(name));
        if !once || !lines.iter().any(|other| other == line) {
            lines.push(line.into());
        }
    }
    if dice.one_in(4) {
        sound = false;
        lines.push(dice.pick(WRONG_HEADERS).into());
    }
    if dice.one_in(40) {
        sound = false;
        lines.remove(0);
    }
    for _ in 0..lines.len() {
        let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
        // What is there twice in other words keeps its order; it does not matter here.
        lines.swap(one, other);
    }
    for line in &lines {
        add(bytes, line);
        add(bytes, "\r\n");
    }
    add(bytes, "\r\n");
    bytes.extend_from_slice(&body);
    sound
}

/// Adds a body in chunks, and says whether it is sound.
fn chunks(dice: &mut Dice, body: &mut Vec<u8>) -> bool {
    let mut sound = true;
    for _ in 0..dice.below(4) {
        let length = 1 + dice.below(30);
        let data: Vec<u8> = (0..length).map(|_| dice.pick(b"xyz\r\n0;")).collect();
        let size = match dice.below(12) {
            0 => format!("{length:X};name=value;other=\"q\\\"uoted\""),
            1 => format!("00{length:x}"),
            2 => {
                sound = false;
                dice.pick(SIZES).to_owned()
            }
            _ => format!("{length:x}"),
        };
        body.extend_from_slice(size.as_bytes());
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(&data);
        let end: &[u8] = if dice.one_in(30) {
            sound = false;
            dice.pick::<&[u8]>(&[b"\n", b"", b"\r", b"x\r\n", b"\n\r"])
        } else {
            b"\r\n"
        };
        body.extend_from_slice(end);
    }
    body.extend_from_slice(b"0\r\n");
    if dice.one_in(4) {
        body.extend_from_slice(b"X-Checksum: abc\r\n");
    }
    if dice.one_in(20) {
        sound = false;
        let wrong: &[u8] = dice.pick::<&[u8]>(&[b"Content-Length: 3\r\n", b"Host: b\r\n", b" x: y\r\n", b"a b: c\r\n", b"a: b\n"]);
        body.extend_from_slice(wrong);
    }
    body.extend_from_slice(b"\r\n");
    sound
}

/// Changes something anywhere.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(5) {
        0 => {
            let piece = dice.pick(PIECES).bytes();
            bytes.splice(at..at, piece);
        }
        1 => {
            let end = (at + 1 + dice.below(4)).min(bytes.len());
            bytes.drain(at..end);
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = dice.roll() as u8;
            }
        }
        3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        _ => {
            let end = (at + dice.below(60)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
    }
}
