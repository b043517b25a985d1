//! Changes of protocol: the tunnel is the caller's, the connection is nobody else's afterwards.

use axum::body::Body;
use fixtures::eventually;
use http::{Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use upstream::{Call, FailureKind, Tunnel};

use crate::support::{call, front, get, raw, read_head, run, write};

fn websocket() -> Request<Body> {
    let request = Request::get("/socket").header("connection", "upgrade").header("upgrade", "websocket");
    request.body(Body::empty()).expect("a request")
}

fn upgrading() -> Call {
    Call { upgrade: true, ..call() }
}

#[test]
fn bytes_flow_both_ways_after_a_101() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            while let Some(head) = read_head(&mut stream).await {
                if !head.contains("upgrade: websocket") {
                    write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    continue;
                }
                let agreed =
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nfirst";
                write(&mut stream, agreed).await;
                let mut buffer = [0; 5];
                if stream.read_exact(&mut buffer).await.is_ok() {
                    stream.write_all(&buffer).await.expect("a write");
                }
                return;
            }
        })
        .await;
        let front = front(&[origin.url()], |config| config.bulkhead.max_in_flight = 1);
        front.text(get("/"), &call()).await.expect("an answer");
        let mut response = front.send(websocket(), &upgrading()).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["upgrade"], "websocket");
        let tunnel = response.extensions_mut().remove::<Tunnel>().expect("what it holds");
        let upgraded = response.extensions_mut().remove::<OnUpgrade>().expect("an upgrade").await.expect("a tunnel");
        let mut io = TokioIo::new(upgraded);
        let mut buffer = [0; 5];
        io.read_exact(&mut buffer).await.expect("bytes");
        assert_eq!(&buffer, b"first");
        io.write_all(b"hello").await.expect("a write");
        io.read_exact(&mut buffer).await.expect("bytes");
        assert_eq!(&buffer, b"hello");
        assert_eq!(front.metric("upstream_connections", "under_test"), 2.0);
        drop((io, tunnel));
        front.text(get("/"), &call()).await.expect("the place is free");
        assert_eq!(front.metric("upstream_connections", "under_test"), 1.0);
        assert_eq!(origin.seen.connections.get(), 2, "the pooled connection was left alone");
    });
}

#[test]
fn a_refused_change_is_an_answer_whose_connection_is_not_kept() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            while let Some(head) = read_head(&mut stream).await {
                assert!(head.starts_with("GET /socket"), "nothing else comes on this connection: {head}");
                write(&mut stream, "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno").await;
            }
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        for _ in 0..3 {
            assert_eq!(front.text(websocket(), &upgrading()).await, Ok((StatusCode::BAD_REQUEST, "no".into())));
        }
        assert_eq!(origin.seen.connections.get(), 3);
        eventually("they are closed", async || origin.seen.open.get() == 0).await;
    });
}

#[test]
fn without_leave_the_headers_do_not_pass() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap_or_default().to_lowercase();
            assert!(!head.contains("upgrade"), "{head}");
            write(&mut stream, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        assert_eq!(front.text(websocket(), &call()).await, Err(FailureKind::Protocol));
    });
}
