//! The guard between a socket and hyper: what waits, what is let through when, and what comes in its turn.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use strict_http::{Config, Guard, Link, Refusal, Watchdog};
use tokio::io::{AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::time::Instant;

use crate::served::serve;

/// A guarded end, as whoever drives a connection sees it.
struct Guarded {
    stream: DuplexStream,
    guard: Guard,
    link: Arc<Link>,
    watchdog: Watchdog,
}

fn guarded(config: Config) -> (DuplexStream, Guarded) {
    let (client, stream) = tokio::io::duplex(1 << 20);
    let link = Arc::new(Link::default());
    let (guard, watchdog) = (Guard::new(&Arc::new(config), &link), Watchdog::new(link.clone()));
    (client, Guarded { stream, guard, link, watchdog })
}

impl Guarded {
    /// Reads once, being woken by the watchdog too.
    async fn read(&mut self) -> io::Result<String> {
        let mut room = vec![0; 1 << 16];
        let Self { stream, guard, watchdog, .. } = self;
        let work = poll_fn(|context| {
            loop {
                let mut buffer = ReadBuf::new(&mut room);
                let read = guard.poll_read(Pin::new(stream), context, &mut buffer);
                if read.is_ready() {
                    return read.map_ok(|()| String::from_utf8_lossy(buffer.filled()).into_owned());
                }
                std::task::ready!(watchdog.poll_due(context));
            }
        });
        tokio::time::timeout(Duration::from_secs(3_600), work).await.expect("in time")
    }

    /// Whether there is nothing to read for now.
    async fn waits(&mut self) -> bool {
        let mut room = [0; 1024];
        let Self { stream, guard, .. } = self;
        poll_fn(|context| {
            let read = guard.poll_read(Pin::new(stream), context, &mut ReadBuf::new(&mut room));
            std::task::Poll::Ready(read.is_pending())
        })
        .await
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SOCKET: &str = "GET /live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn half_a_head_is_kept_until_it_is_whole() {
    let (mut client, mut guarded) = guarded(Config::default());
    client.write_all(format!("{GET}GET /b HT").as_bytes()).await.expect("sent");
    assert_eq!(guarded.read().await.expect("read"), GET);
    assert!(guarded.waits().await);
    client.write_all(format!("TP/1.1\r\nHost: a\r\n\r\n{GET}").as_bytes()).await.expect("sent");
    assert_eq!(guarded.read().await.expect("read"), format!("GET /b HTTP/1.1\r\nHost: a\r\n\r\n{GET}"));
    drop(client);
    assert_eq!(guarded.read().await.expect("the end"), "");
}

/// Says whether so much time has passed, give or take the steps of the timer.
fn took(begun: Instant, milliseconds: u64) -> bool {
    let limit = Duration::from_millis(milliseconds);
    (limit..limit + Duration::from_millis(10)).contains(&begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_that_takes_too_long_is_refused() {
    let (mut client, mut guarded) = guarded(Config { header_timeout_ms: 10_000, ..Config::default() });
    client.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("sent");
    let begun = Instant::now();
    let stand_in = guarded.read().await.expect("a stand-in");
    assert!(took(begun, 10_000), "{:?}", begun.elapsed());
    let target = stand_in.split(' ').nth(1).expect("a target");
    assert_eq!(Refusal::of(&target.parse().expect("a URI")), Some(Refusal::HeadTooSlow));
    assert!(guarded.link.has_refused());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_ends_in_an_error() {
    let (mut client, mut guarded) = guarded(Config { body_idle_ms: 30_000, ..Config::default() });
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await.expect("sent");
    assert!(guarded.read().await.expect("read").ends_with("ab"));
    let begun = Instant::now();
    let error = guarded.read().await.expect_err("too slow");
    assert!(took(begun, 30_000), "{:?}", begun.elapsed());
    assert_eq!((Refusal::behind(&error), error.kind()), (Some(Refusal::BodyTooSlow), io::ErrorKind::TimedOut));
    assert!(guarded.link.has_refused());
}

#[tokio::test]
async fn who_sends_a_wrong_body_is_read_on_from() {
    // The request has gone on and is answered; a socket that is closed over unread bytes would take the answer along.
    let (mut client, mut guarded) = guarded(Config::default());
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("sent");
    assert!(guarded.read().await.expect("read").starts_with("POST"));
    assert!(!guarded.link.has_refused());
    client.write_all(b"#5\r\nhello").await.expect("sent");
    assert!(guarded.read().await.is_err());
    assert!(guarded.link.has_refused());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let (_client, mut guarded) = guarded(Config { write_idle_ms: 30_000, ..Config::default() });
    let begun = Instant::now();
    let gone = poll_fn(|context| {
        loop {
            if let std::task::Poll::Ready(written) = guarded.guard.wrote(std::task::Poll::Pending) {
                return std::task::Poll::Ready(written);
            }
            std::task::ready!(guarded.watchdog.poll_due(context));
        }
    });
    assert_eq!(gone.await.expect_err("given up").kind(), io::ErrorKind::TimedOut);
    assert!(took(begun, 30_000), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nothing_is_read_as_http_behind_a_websocket() {
    for agreed in [true, false] {
        let (mut client, mut guarded) = guarded(Config::default());
        client.write_all(format!("{GET}{SOCKET}\x01\x02{GET}").as_bytes()).await.expect("sent");
        assert_eq!(guarded.read().await.expect("read"), format!("{GET}{SOCKET}"));
        assert!(guarded.waits().await, "nobody has agreed");
        assert!(!guarded.link.answered(1, false), "the first request asked for nothing");
        assert!(guarded.link.answered(2, agreed));
        if agreed {
            assert_eq!(guarded.read().await.expect("read"), format!("\x01\x02{GET}"));
            client.write_all(b"\0\n").await.expect("sent");
            assert_eq!(guarded.read().await.expect("read"), "\0\n");
        } else {
            assert!(guarded.waits().await, "what follows is nobody's");
        }
    }
}

#[tokio::test]
async fn a_refusal_comes_in_its_turn() {
    let pieces = [
        GET.as_bytes(),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        GET.as_bytes(),
    ];
    let served = serve(&[&pieces.concat()], true).await;
    assert_eq!((served.requests.len(), served.refusal), (2, Some(Refusal::SpaceBeforeColon)));
    let statuses: Vec<&str> =
        served.answer.matches("HTTP/1.1 200").chain(served.answer.matches("HTTP/1.1 400")).collect();
    assert_eq!(statuses.len(), 3);
    assert!(served.answer.to_ascii_lowercase().contains("connection: close"));
}

#[tokio::test]
async fn hyper_alone_lets_through_what_is_refused() {
    // If this fails hyper has become strict, and part of the scanner could go.
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(serve(&[request], false).await.requests.len(), 1);
    let guarded = serve(&[request], true).await;
    assert_eq!((guarded.requests.len(), guarded.refusal), (0, Some(Refusal::LengthAndCoding)));
}
