//! Bodies of requests on their way: streamed, stalled, broken off, answered early; and trailers both ways.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use fixtures::eventually;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::AsyncReadExt as _;
use upstream::FailureKind;

use crate::support::{answer, call, front, get, origin, post, raw, read_head, run, text, write};

type Parts = Vec<Result<Bytes, std::io::Error>>;

fn endless(parts: Parts) -> Body {
    Body::from_stream(stream::iter(parts).chain(stream::pending()))
}

#[test]
fn uploads_arrive_whole_whatever_their_framing() {
    run(async {
        let origin = origin(|request| async move {
            let length = request.headers().get("content-length").cloned();
            let body = request.into_body().collect().await.expect("a whole body").to_bytes();
            answer(200, format!("{} {length:?}", body.len()))
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let parts = || stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1000]))));
        for _ in 0..3 {
            let (_, sized) = front.text(post("/", "12345"), &call()).await.expect("an answer");
            assert_eq!(sized, "5 Some(\"5\")");
            let (_, chunked) = front.text(post("/", Body::from_stream(parts())), &call()).await.expect("an answer");
            assert_eq!(chunked, "100000 None");
            let mut request = post("/", Body::from_stream(parts()));
            request.headers_mut().insert("content-length", HeaderValue::from_static("100000"));
            let (_, stated) = front.text(request, &call()).await.expect("an answer");
            assert_eq!(stated, "100000 Some(\"100000\")");
        }
        assert_eq!(origin.seen.connections.get(), 1, "a whole upload leaves the connection in order");
    });
}

#[test]
fn an_upload_shorter_or_longer_than_stated_never_breaks_the_framing() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            while let Some(head) = read_head(&mut stream).await {
                assert!(head.starts_with("POST / ") || head.starts_with("GET / "), "smuggled: {head}");
                if head.starts_with("POST") {
                    let mut body = [0; 10];
                    if stream.read_exact(&mut body).await.is_err() {
                        return;
                    }
                }
                write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let stated = |parts: Parts| {
            let mut request = post("/", Body::from_stream(stream::iter(parts)));
            request.headers_mut().insert("content-length", HeaderValue::from_static("10"));
            request
        };
        let short = front.text(stated(vec![Ok("short".into())]), &call()).await;
        assert_eq!(short, Err(FailureKind::RequestBroken));
        let _ =
            front.text(stated(vec![Ok("0123456789GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n".into())]), &call()).await;
        for _ in 0..5 {
            front.text(get("/"), &call()).await.expect("an answer");
        }
    });
}

#[test]
fn a_client_that_stalls_or_breaks_off_is_told_apart_from_the_server() {
    run(async {
        let origin = origin(|request| async move {
            let _ = request.into_body().collect().await;
            answer(200, "")
        })
        .await;
        let front = front(&[origin.url()], |config| config.timeouts.body_idle_ms = 50);
        let stalled = front.send(post("/", endless(vec![Ok("some".into())])), &call()).await.expect_err("it stalls");
        assert_eq!(stalled.kind(), FailureKind::RequestStalled);
        assert_eq!(kernel::Error::from(stalled).status(), 408);
        let broken: Parts = vec![Ok("some".into()), Err(std::io::Error::other("the client left"))];
        let broken = front.send(post("/", Body::from_stream(stream::iter(broken))), &call()).await.expect_err("broken");
        assert_eq!(broken.kind(), FailureKind::RequestBroken);
        let error = kernel::Error::from(broken);
        assert_eq!((error.status(), error.code()), (400, "request.body_broken"));
        assert!(error.to_string().contains("the client left"), "{error}");
        eventually("the server sees the end", async || origin.seen.open.get() == 0).await;
        assert_eq!(front.metric("upstream_breakers_open", "under_test"), 0.0);
    });
}

/// A limit of a policy speaks through the body's error, and its own words reach the client.
#[test]
fn an_error_of_ours_in_the_body_is_the_answer() {
    run(async {
        let origin = origin(|request| async move {
            let _ = request.into_body().collect().await;
            answer(200, "")
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let too_large = kernel::Error::invalid("request.too_large", "too large").status_code(413);
        let parts = stream::iter([Ok(Bytes::from("x")), Err(too_large)]);
        let failure = front.send(post("/", Body::from_stream(parts)), &call()).await.expect_err("too large");
        let error = kernel::Error::from(failure);
        assert_eq!((error.status(), error.code()), (413, "request.too_large"));
    });
}

#[test]
fn an_early_answer_reaches_the_client_and_ends_the_upload() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            write(&mut stream, "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig").await;
            // It neither reads on nor closes.
            std::future::pending::<()>().await;
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let early = front.text(post("/", endless(vec![Ok("some".into())])), &call()).await;
        assert_eq!(early, Ok((StatusCode::PAYLOAD_TOO_LARGE, "big".into())));
        eventually("the connection is not kept", async || front.metric("upstream_connections", "under_test") == 0.0)
            .await;
    });
}

#[test]
fn an_upload_that_goes_on_is_not_late() {
    run(async {
        let origin = origin(|request| async move {
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            answer(200, body)
        })
        .await;
        let front = front(&[origin.url()], |config| {
            (config.timeouts.body_idle_ms, config.timeouts.first_byte_ms) = (500, 500);
        });
        // A byte now and then, for longer than either limit.
        let begun = Instant::now();
        let slow = stream::unfold(0, move |n| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let goes_on = begun.elapsed() < Duration::from_millis(600);
            goes_on.then_some((Ok::<_, std::io::Error>(Bytes::from("x")), n + 1))
        });
        let (_, text) = front.text(post("/", Body::from_stream(slow)), &call()).await.expect("an answer");
        assert!(!text.is_empty() && text.bytes().all(|byte| byte == b'x'), "{text}");
    });
}

#[test]
fn trailers_pass() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                          2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
            write(&mut stream, answer).await;
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let response = front.send(get("/"), &call()).await.expect("an answer");
        let whole = response.into_body().collect().await.expect("a whole body");
        assert_eq!(whole.trailers().expect("trailers")["x-sum"], "7");
    });
}

#[test]
fn trailers_of_a_request_pass() {
    run(async {
        let origin = origin(|request| async move {
            let whole = request.into_body().collect().await.expect("a whole body");
            let sum = whole.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
            answer(200, format!("{sum:?}"))
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let trailers: HeaderMap =
            [("x-sum".parse().expect("a name"), HeaderValue::from_static("7"))].into_iter().collect();
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from("a"))), Ok(Frame::trailers(trailers))];
        let request = Request::post("/")
            .header("trailer", "x-sum")
            .body(Body::new(StreamBody::new(stream::iter(frames))))
            .expect("a request");
        let response = front.send(request, &call()).await.expect("an answer");
        assert_eq!(text(response).await, "Some(\"7\")");
    });
}

/// The client was told to go on when its body was first read; the server is not asked a second time.
#[test]
fn nobody_waits_for_a_100_continue() {
    run(async {
        let origin = origin(|request| async move {
            let expects = request.headers().contains_key("expect");
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            answer(200, format!("{expects} {}", body.len()))
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let request = Request::put("/").header("expect", "100-continue").body(Body::from("body")).expect("a request");
        assert_eq!(front.text(request, &call()).await, Ok((StatusCode::OK, "false 4".into())));
    });
}
