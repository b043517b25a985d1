//! Request bodies whose length nobody knows: they arrive whole or not at all, whatever the method.

use std::cell::RefCell;
use std::rc::Rc;

use axum::body::Body;
use bytes::Bytes;
use fixtures::eventually;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use tokio::io::AsyncReadExt as _;
use upstream::{Call, FailureKind};

use crate::support::{Origin, call, front, get, post, raw, read_head, retrying, run, write};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn streamed(method: &Method, parts: Vec<Result<Bytes, std::io::Error>>) -> Request<Body> {
    Request::builder().method(method).uri("/").body(Body::from_stream(stream::iter(parts))).expect("a request")
}

/// A server that keeps what one connection after the other sent, and answers a message that is complete.
async fn recorder() -> (Origin, Rc<RefCell<Vec<String>>>) {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let record = heard.clone();
    let origin = raw(move |mut stream, number| {
        let record = record.clone();
        async move {
            record.borrow_mut().push(String::new());
            let mut part = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut part).await {
                let text = {
                    let mut record = record.borrow_mut();
                    record[number].push_str(&String::from_utf8_lossy(&part[..read]));
                    record[number].clone()
                };
                let complete = match text.contains("transfer-encoding: chunked") {
                    true => text.ends_with("\r\n0\r\n\r\n"),
                    false => text.ends_with("\r\n\r\n"),
                };
                if complete {
                    write(&mut stream, OK).await;
                }
            }
        }
    })
    .await;
    (origin, heard)
}

#[test]
fn a_body_of_unknown_length_arrives_with_every_method() {
    run(async {
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::POST, Method::PUT] {
            for call in [call(), retrying()] {
                let (origin, heard) = recorder().await;
                let front = front(&[origin.url()], |_| {});
                let request = streamed(&method, vec![Ok("some".into()), Ok("more!".into())]);
                let response = front.send(request, &call).await.expect("an answer");
                assert_eq!(response.status(), StatusCode::OK);
                let text = heard.borrow()[0].clone();
                let (head, body) = text.split_once("\r\n\r\n").expect("a head");
                assert_eq!(head.matches("transfer-encoding: chunked").count(), 1, "{method}");
                assert!(!head.contains("content-length"), "{method}");
                assert_eq!(body, "4\r\nsome\r\n5\r\nmore!\r\n0\r\n\r\n", "{method}");
            }
        }
    });
}

/// As a client's broken chunks do, wherever they break.
#[test]
fn a_body_that_breaks_off_never_arrives_as_a_complete_request() {
    run(async {
        let broken = || Err(std::io::Error::other("not a chunk"));
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::POST] {
            for before in [&[][..], &["some"], &["some", "more"]] {
                for call in [call(), retrying()] {
                    let (origin, heard) = recorder().await;
                    let front = front(&[origin.url()], |_| {});
                    let mut parts: Vec<_> = before.iter().map(|part| Ok(Bytes::from(*part))).collect();
                    parts.push(broken());
                    let failure = front.send(streamed(&method, parts), &call).await.expect_err("it broke");
                    assert_eq!(failure.kind(), FailureKind::RequestBroken, "{method}");
                    eventually("the connection is closed", async || origin.seen.open.get() == 0).await;
                    for text in heard.borrow().iter().filter(|text| !text.is_empty()) {
                        assert!(text.contains("transfer-encoding: chunked"), "{method}: {text}");
                        assert!(!text.ends_with("0\r\n\r\n"), "{method}: {text}");
                    }
                }
            }
        }
    });
}

/// A server of HTTP/1.0 may keep a connection, on which hyper then speaks 1.0, where an unknown length
/// cannot be said and the body would be dropped.
#[test]
fn a_connection_that_spoke_http_1_0_is_not_used_again() {
    run(async {
        let origin = raw(|mut stream, number| async move {
            while let Some(head) = read_head(&mut stream).await {
                if head.starts_with("GET") {
                    let answer = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
                    write(&mut stream, answer).await;
                    continue;
                }
                let chunked = head.contains("HTTP/1.1") && head.contains("transfer-encoding: chunked");
                let mut body = [0; 14];
                let whole = chunked && stream.read_exact(&mut body).await.is_ok();
                let whole = whole && body == *b"4\r\nbody\r\n0\r\n\r\n";
                let said = format!("{number} {}", if whole { "whole" } else { "lost." });
                write(&mut stream, &format!("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{said}")).await;
            }
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        assert_eq!(front.text(get("/"), &call()).await, Ok((StatusCode::OK, "ok".into())));
        let unknown = || Body::from_stream(stream::iter([Ok::<_, std::io::Error>("body")]));
        for _ in 0..2 {
            assert_eq!(front.text(post("/", unknown()), &call()).await, Ok((StatusCode::OK, "1 whole".into())));
        }
    });
}

/// The change of protocol is asked for without a body, whatever else a request says of it.
#[test]
fn a_request_without_a_body_says_nothing_of_one() {
    run(async {
        let (origin, heard) = recorder().await;
        let front = front(&[origin.url()], |_| {});
        for call in [call(), Call { hedge: true, ..retrying() }] {
            let mut request = get("/");
            request.headers_mut().insert("transfer-encoding", http::HeaderValue::from_static("chunked"));
            front.send(request, &call).await.expect("an answer");
        }
        assert!(heard.borrow().iter().all(|text| !text.contains("transfer-encoding")));
    });
}
