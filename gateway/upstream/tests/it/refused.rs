//! Servers of HTTP/2 that say that they did nothing with a request (RFC 9113, section 8.7): it goes elsewhere
//! whatever it is. Frames by hand, for no library's server says so when it is told to.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use upstream::{Call, FailureKind, Protocol};

use crate::support::{Origin, call, front, get, post, raw, retrying, run};

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CANCEL: u8 = 8;
const REFUSED: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` (RFC 7541, appendix A).
const OK: u8 = 0x88;

/// What the server does with the second request of its first connection.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Says that the first one was its last.
    GoAway,
    /// Resets it with this code.
    Reset(u8),
}

async fn frame(stream: &mut TcpStream, kind: u8, flags: u8, number: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &number.to_be_bytes()].concat();
    stream.write_all(&[&head, payload].concat()).await.expect("written");
}

/// Answers every request of a connection but the second one of the first connection.
async fn serve(mut stream: TcpStream, connection: usize, way: Way) {
    let mut preface = [0; 24];
    if stream.read_exact(&mut preface).await.is_err() {
        return;
    }
    frame(&mut stream, SETTINGS, 0, 0, &[]).await;
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.expect("a payload");
        match (head[3], head[4], way) {
            (SETTINGS, 0, _) => frame(&mut stream, SETTINGS, 1, 0, &[]).await,
            (HEADERS, _, Way::GoAway) if connection == 0 && number == 3 => {
                frame(&mut stream, GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]).await;
            }
            (HEADERS, _, Way::Reset(code)) if connection == 0 && number == 3 => {
                frame(&mut stream, RESET, 0, number, &[0, 0, 0, code]).await;
            }
            // The rest of what was refused.
            _ if connection == 0 && number == 3 => {}
            (_, flags, _) if number > 0 && flags & END_STREAM != 0 => {
                frame(&mut stream, HEADERS, END_STREAM | END_HEADERS, number, &[OK]).await;
            }
            _ => {}
        }
    }
}

async fn refusing(way: Way) -> Origin {
    raw(move |stream, connection| serve(stream, connection, way)).await
}

fn streamed() -> Request<Body> {
    let parts = ["some ", "of ", "it"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
    post("/", Body::from_stream(stream::iter(parts)))
}

/// Sends a request that is answered and then this one, and returns what became of it.
async fn second(way: Way, request: Request<Body>, call: &Call) -> Result<StatusCode, FailureKind> {
    let origin = refusing(way).await;
    let front = front(&[origin.url()], |config| config.protocol = Protocol::Http2);
    assert_eq!(front.text(get("/"), call).await.expect("an answer").0, StatusCode::OK);
    front.text(request, call).await.map(|(status, _)| status)
}

#[test]
fn what_was_refused_unseen_goes_elsewhere_whatever_it_is() {
    run(async {
        for way in [Way::GoAway, Way::Reset(REFUSED)] {
            // Without a body even where nothing is retried: it is a dead connection, no failed attempt.
            for (request, call) in [
                (get("/"), call()),
                (post("/", Body::empty()), call()),
                (post("/", Body::empty()), retrying()),
                (post("/", "body"), retrying()),
                (streamed(), retrying()),
            ] {
                let name = format!("{way:?} {} {:?}", request.method(), request.body());
                assert_eq!(second(way, request, &call).await, Ok(StatusCode::OK), "{name}");
            }
            assert_eq!(second(way, post("/", "body"), &call()).await, Err(FailureKind::Refused), "not kept");
        }
    });
}

#[test]
fn what_may_have_been_seen_is_not_sent_again() {
    run(async {
        for request in [post("/", Body::empty()), post("/", "body"), streamed()] {
            assert_eq!(second(Way::Reset(CANCEL), request, &retrying()).await, Err(FailureKind::Reset));
        }
        assert_eq!(second(Way::Reset(CANCEL), get("/"), &retrying()).await, Ok(StatusCode::OK));
    });
}
