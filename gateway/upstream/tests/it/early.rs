//! Servers that answer before they have read everything, and answers with enormous heads.

use axum::body::Body;
use bytes::Bytes;
use fixtures::eventually;
use futures_util::stream;
use http::StatusCode;
use upstream::FailureKind;

use crate::support::{call, front, get, post, raw, read_head, retrying, run, write};

/// The server closes with the rest of the body unread, which is a reset: the answer counts, not the reset.
#[test]
fn an_answer_before_a_reset_reaches_the_client() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            write(&mut stream, "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig").await;
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        for round in 0..100 {
            let parts = stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024]))));
            let call = if round % 2 == 0 { call() } else { retrying() };
            let answered = front.text(post("/", Body::from_stream(parts)), &call).await;
            assert_eq!(answered, Ok((StatusCode::PAYLOAD_TOO_LARGE, "big".into())), "{round}");
        }
        eventually("nothing is kept", async || front.metric("upstream_connections", "under_test") == 0.0).await;
        assert_eq!(origin.seen.connections.get(), 100, "and nothing is sent again");
    });
}

#[test]
fn a_reset_in_an_upload_without_an_answer_is_a_failure() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            crate::support::reset(stream);
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        for _ in 0..20 {
            let parts = stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024]))));
            let answered = front.text(post("/", Body::from_stream(parts)), &call()).await;
            assert_eq!(answered, Err(FailureKind::Reset));
        }
        eventually("nothing is kept", async || front.metric("upstream_connections", "under_test") == 0.0).await;
    });
}

#[test]
fn an_answer_has_a_hundred_headers_at_most() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            while let Some(head) = read_head(&mut stream).await {
                let count: usize =
                    head.split(['/', ' ']).nth(2).and_then(|count| count.parse().ok()).expect("a number");
                let mut answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".to_owned();
                (1..count).for_each(|n| answer.push_str(&format!("x-{n}: {n}\r\n")));
                answer.push_str("\r\n");
                write(&mut stream, &answer).await;
            }
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        for (count, good) in [(100, true), (101, false), (5000, false), (100, true)] {
            let answered = front.send(get(&format!("/{count}")), &call()).await;
            match answered {
                Ok(response) => assert_eq!((response.headers().len(), good), (count, true)),
                Err(failure) => {
                    assert_eq!((failure.kind(), good), (FailureKind::Protocol, false), "{count}");
                    let error = kernel::Error::from(failure);
                    assert_eq!((error.status(), error.code()), (502, "gateway.upstream_protocol"));
                }
            }
        }
    });
}

#[test]
fn a_head_without_an_end_is_refused() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            write(&mut stream, &format!("HTTP/1.1 200 OK\r\nx-long: {}", "x".repeat(2_000_000))).await;
            std::future::pending::<()>().await;
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        assert_eq!(front.text(get("/"), &call()).await, Err(FailureKind::Protocol));
        eventually("it is closed", async || front.metric("upstream_connections", "under_test") == 0.0).await;
    });
}
