//! Servers that behave badly: what a client of the gateway gets, and that nothing is kept that must not be.

use std::time::{Duration, Instant};

use fixtures::eventually;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use upstream::{Call, FailureKind};

use crate::support::{Front, Origin, call, front, get, raw, read_head, run, text, write};

/// A server that answers the head of any request with these bytes and closes.
async fn says(bytes: &'static str) -> Origin {
    raw(move |mut stream, _| async move {
        if read_head(&mut stream).await.is_some() {
            write(&mut stream, bytes).await;
        }
    })
    .await
}

async fn kind(bytes: &'static str) -> Result<(StatusCode, String), FailureKind> {
    let origin = says(bytes).await;
    front(&[origin.url()], |_| {}).text(get("/"), &call()).await
}

#[test]
fn what_is_no_answer_is_a_bad_gateway() {
    run(async {
        assert_eq!(kind("").await, Err(FailureKind::Reset));
        assert_eq!(kind("HTTP/1.1 200 OK\r\ncontent-le").await, Err(FailureKind::Reset));
        for bytes in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 999999 No\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        ] {
            assert_eq!(kind(bytes).await, Err(FailureKind::Protocol), "{bytes:?}");
        }
        let error = kernel::Error::from(
            front(&[says("nonsense\r\n\r\n").await.url()], |_| {})
                .send(get("/"), &call())
                .await
                .expect_err("no answer"),
        );
        assert_eq!((error.status(), error.code()), (502, "gateway.upstream_protocol"));
    });
}

#[test]
fn interim_answers_are_passed_over() {
    run(async {
        let bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
                     HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(kind(bytes).await, Ok((StatusCode::OK, "ok".into())));
    });
}

#[test]
fn a_body_that_breaks_off_is_an_error_of_the_body() {
    run(async {
        for bytes in [
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        ] {
            let origin = says(bytes).await;
            let front = front(&[origin.url()], |_| {});
            let response = front.send(get("/"), &call()).await.expect("a head");
            let error = response.into_body().collect().await.expect_err("half a body");
            assert!(error.to_string().contains("reset"), "{error}");
            eventually("it is closed", async || front.metric("upstream_connections", "under_test") == 0.0).await;
        }
        let until_closed = kind("HTTP/1.0 200 OK\r\n\r\nall of it").await;
        assert_eq!(until_closed, Ok((StatusCode::OK, "all of it".into())), "the end of the connection is an end");
    });
}

#[test]
fn what_follows_an_answer_unasked_is_never_anybodys_answer() {
    run(async {
        let origin = raw(|mut stream, number| async move {
            while read_head(&mut stream).await.is_some() {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
                );
                write(&mut stream, &answer).await;
            }
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        for _ in 0..10 {
            let (_, text) = front.text(get("/"), &call()).await.expect("an answer");
            assert_ne!(text, "poison");
        }
    });
}

#[test]
fn a_body_that_stops_is_cut_off() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
            let _ = read_head(&mut stream).await;
        })
        .await;
        let front = front(&[origin.url()], |config| config.timeouts.body_idle_ms = 50);
        let response = front.send(get("/"), &call()).await.expect("a head");
        let error = response.into_body().collect().await.expect_err("half a body");
        assert!(error.to_string().contains("body_timeout"), "{error}");
        eventually("the server sees it", async || origin.seen.open.get() == 0).await;

        let front = crate::support::front(&[origin.url()], |_| {});
        let deadline = Instant::now() + Duration::from_millis(60);
        let whole = Call { deadline_covers_body: true, ..Call::until(deadline) };
        let response = front.send(get("/"), &whole).await.expect("a head");
        let error = response.into_body().collect().await.expect_err("half a body");
        assert!(error.to_string().contains("deadline"), "{error}");
    });
}

/// Bytes that come slowly but come are no reason to cut off.
#[test]
fn a_slow_body_is_not_a_stopped_one() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            write(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let begun = Instant::now();
            // Now and then, for longer than the limit.
            while begun.elapsed() < Duration::from_millis(600) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                write(&mut stream, "1\r\nx\r\n").await;
            }
            write(&mut stream, "0\r\n\r\n").await;
        })
        .await;
        let front = front(&[origin.url()], |config| config.timeouts.body_idle_ms = 500);
        let response = front.send(get("/"), &call()).await.expect("a head");
        let body = text(response).await;
        assert!(!body.is_empty() && body.bytes().all(|byte| byte == b'x'), "{body}");
    });
}

#[test]
fn connections_that_do_not_come_about() {
    run(async {
        let gone = raw(|_, _| async {}).await;
        gone.stop().await;
        let refused = front(&[gone.url()], |_| {}).send(get("/"), &call()).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), FailureKind::Connect);
        let error = kernel::Error::from(refused);
        assert_eq!((error.status(), error.code()), (502, "gateway.upstream_unreachable"));
        let nowhere = front(&["http://no-such-host.invalid:80".into()], |_| {});
        assert_eq!(nowhere.text(get("/"), &call()).await, Err(FailureKind::Resolve));
    });
}

#[test]
fn names_are_looked_up() {
    run(async {
        let origin = crate::support::origin(|_| async { crate::support::answer(200, "here") }).await;
        let front = front(&[format!("http://localhost:{}", origin.address.port())], |_| {});
        assert_eq!(front.text(get("/"), &call()).await, Ok((StatusCode::OK, "here".into())));
        let host = origin.seen.requests.borrow()[0].headers["host"].clone();
        assert_eq!(host, format!("localhost:{}", origin.address.port()));
    });
}

#[test]
fn the_host_is_the_upstreams_or_the_original() {
    run(async {
        let origin = crate::support::origin(|_| async { crate::support::answer(200, "") }).await;
        let asked = || Request::get("/").header("host", "shop.example").body(axum::body::Body::empty()).expect("one");
        let ask = async |front: Front| {
            front.text(asked(), &call()).await.expect("an answer");
            origin.seen.requests.borrow_mut().pop().expect("a request").headers["host"].clone()
        };
        assert_eq!(ask(front(&[origin.url()], |_| {})).await, origin.address.to_string());
        let original = front(&[origin.url()], |config| config.host = upstream::HostHeader::Original);
        assert_eq!(ask(original).await, "shop.example");
    });
}

#[test]
fn answers_without_bodies_leave_the_connection_open() {
    run(async {
        let origin = raw(|mut stream, _| async move {
            while let Some(head) = read_head(&mut stream).await {
                let answer = match head.split(' ').next() {
                    Some("HEAD") => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
                    _ if head.contains("/304") => "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
                    _ => "HTTP/1.1 204 No Content\r\n\r\n",
                };
                write(&mut stream, answer).await;
            }
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        for _ in 0..3 {
            let head = Request::head("/").body(axum::body::Body::empty()).expect("a request");
            let response = front.send(head, &call()).await.expect("an answer");
            assert_eq!(response.headers()["content-length"], "1000");
            assert_eq!(text(response).await, "");
            assert_eq!(front.text(get("/304"), &call()).await, Ok((StatusCode::NOT_MODIFIED, String::new())));
            assert_eq!(front.text(get("/204"), &call()).await, Ok((StatusCode::NO_CONTENT, String::new())));
        }
        assert_eq!(origin.seen.connections.get(), 1);
    });
}
