//! Connections: reused, bounded, waited for, closed when they must not be used again.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use fixtures::eventually;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use upstream::{Call, Config, FailureKind};

use crate::support::{answer, call, front, gated, get, origin, post, raw, read_head, run, turns, write};

async fn hello(_: Request<Incoming>) -> Response<Body> {
    answer(200, "hello")
}

#[test]
fn one_connection_serves_one_request_after_the_other() {
    run(async {
        let origin = origin(hello).await;
        let front = front(&[origin.url()], |_| {});
        for _ in 0..50 {
            assert_eq!(front.text(get("/x?y=1"), &call()).await, Ok((http::StatusCode::OK, "hello".into())));
        }
        assert_eq!(origin.seen.connections.get(), 1);
        let requests = origin.seen.requests.borrow();
        let head = &requests[49];
        assert_eq!(head.uri, "/x?y=1");
        assert_eq!(head.headers["host"], origin.address.to_string());
        let left: u64 = head.headers["x-request-timeout-ms"].to_str().expect("text").parse().expect("a number");
        assert!((20_000..=30_000).contains(&left), "{left}");
        assert_eq!(front.metric("upstream_attempts", "good"), 50.0);
        assert_eq!(front.metric("upstream_connections", "under_test"), 1.0);
    });
}

#[test]
fn the_limit_holds_and_those_beyond_it_wait_in_turn() {
    run(async {
        let (origin, gate) = gated().await;
        let front = front(&[origin.url()], |config| config.pool.max_connections = 3);
        let call = call();
        let opens = async {
            let waiting = || front.metric("upstream_waiting", "under_test");
            eventually("all but three wait", async || (origin.requests(), waiting()) == (3, 37.0)).await;
            gate.add_permits(40);
        };
        let (all, ()) = tokio::join!(join_all((0..40).map(|_| front.text(get("/"), &call))), opens);
        assert!(all.iter().all(|one| one.as_ref().is_ok_and(|(status, _)| status.is_success())));
        assert!(origin.seen.connections.get() <= 3, "{}", origin.seen.connections.get());
        assert_eq!(front.metric("upstream_waiting", "under_test"), 0.0);
    });
}

#[test]
fn a_full_queue_refuses_and_a_queue_that_stands_gives_up() {
    run(async {
        let origin = origin(|_| std::future::pending()).await;
        let front = front(&[origin.url()], |config: &mut Config| {
            (config.pool.max_connections, config.pool.queue, config.pool.queue_ms) = (1, 1, 50);
        });
        let call = call();
        let held = front.send(get("/"), &call);
        let others = async {
            eventually("the first has the connection", async || origin.requests() == 1).await;
            let (waited, refused) = tokio::join!(front.send(get("/"), &call), front.send(get("/"), &call));
            for failure in [waited, refused] {
                let failure = failure.expect_err("there is no connection");
                assert_eq!((failure.kind(), failure.retry_after_seconds()), (FailureKind::Busy, Some(1)));
                assert_eq!(kernel::Error::from(failure).code(), "gateway.upstream_busy");
            }
        };
        tokio::select! {
            _ = held => panic!("it never answers"),
            () = others => {}
        }
        // The one that was held is dropped: its connection is closed at once, and the next has its place.
        eventually("the server sees the end", async || origin.seen.open.get() == 0).await;
    });
}

#[test]
fn who_leaves_the_queue_takes_nothing_along() {
    run(async {
        let origin = origin(|_| async {
            turns(5).await;
            answer(200, "slow")
        })
        .await;
        let front = front(&[origin.url()], |config| config.pool.max_connections = 1);
        let call = call();
        for round in 0..40 {
            let leaves = async {
                tokio::select! {
                    _ = front.text(get("/"), &call) => {}
                    () = turns(round) => {}
                }
            };
            let (first, (), last) = tokio::join!(front.text(get("/"), &call), leaves, front.text(get("/"), &call));
            assert!(first.is_ok() && last.is_ok(), "{first:?} {last:?}");
        }
        assert_eq!(front.metric("upstream_waiting", "under_test"), 0.0);
        eventually("one connection at most", async || origin.seen.open.get() <= 1).await;
    });
}

#[test]
fn a_dropped_answer_closes_its_connection_at_once() {
    run(async {
        let origin = origin(|_| async {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from("first"))]);
            answer(200, Body::from_stream(futures_util::StreamExt::chain(first, stream::pending())))
        })
        .await;
        let front = front(&[origin.url()], |_| {});
        let mut response = front.send(get("/"), &call()).await.expect("a head");
        let frame = response.body_mut().frame().await.expect("a frame").expect("data");
        assert_eq!(frame.into_data().expect("data"), "first");
        drop(response);
        eventually("the server sees the end", async || origin.seen.open.get() == 0).await;
        assert_eq!(front.metric("upstream_connections", "under_test"), 0.0);
    });
}

#[test]
fn idle_and_worn_connections_are_closed() {
    run(async {
        let origin = origin(hello).await;
        let front = front(&[origin.url()], |config| {
            (config.pool.idle_ms, config.pool.max_requests) = (60_000, 2);
        });
        for _ in 0..6 {
            front.text(get("/"), &call()).await.expect("an answer");
        }
        assert_eq!(origin.seen.connections.get(), 3);
        let front = crate::support::front(&[origin.url()], |config| config.pool.idle_ms = 30);
        front.text(get("/"), &call()).await.expect("an answer");
        eventually("it is closed", async || front.metric("upstream_connections", "under_test") == 0.0).await;
    });
}

#[test]
fn servers_change_while_requests_run() {
    run(async {
        let (old, new) = (origin(hello).await, origin(hello).await);
        let front = front(&[old.url()], |_| {});
        front.text(get("/"), &call()).await.expect("an answer");
        let server = |url: String| upstream::Server::parse(&url, 1).expect("a server");
        let response = front.send(get("/"), &call()).await.expect("a head");
        front.upstream.set_servers(vec![server(new.url())]).expect("servers");
        assert_eq!(crate::support::text(response).await, "hello", "what runs goes on");
        for _ in 0..5 {
            front.text(get("/"), &call()).await.expect("an answer");
        }
        assert_eq!((old.requests(), new.requests()), (2, 5));
        eventually("connections to the old one are not kept", async || old.seen.open.get() == 0).await;
        front.upstream.set_servers(Vec::new()).expect("servers");
        assert_eq!(front.text(get("/"), &call()).await, Err(FailureKind::NoServer));
    });
}

/// The server answers and closes while the next request is on its way: nobody's fault, and nobody's 502.
#[test]
fn a_dead_pooled_connection_is_replaced_without_a_retry() {
    run(async {
        for resets in [false, true] {
            let origin = raw(move |mut stream, _| async move {
                // Each connection answers one request as if it stayed open, and dies with the second.
                let Some(_) = read_head(&mut stream).await else { return };
                write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                if read_head(&mut stream).await.is_some() && resets {
                    crate::support::reset(stream);
                }
            })
            .await;
            let front = front(&[origin.url()], |_| {});
            for _ in 0..10 {
                assert_eq!(front.text(get("/"), &call()).await.map(|(_, text)| text), Ok("ok".to_owned()));
            }
            assert_eq!(front.metric("upstream_connections_replaced", "under_test"), 9.0);
            assert_eq!(front.metric("upstream_retries", "under_test"), 0.0);
            // What was sent and is not safe is not sent again.
            let unsafe_one = front.text(post("/", "body"), &call()).await;
            assert_eq!(unsafe_one, Err(FailureKind::Reset));
        }
    });
}

/// Servers that close idle connections whenever they like, under load, and everything is answered.
#[test]
fn a_server_that_keeps_closing_costs_no_safe_request() {
    run(async {
        let origin = raw(|mut stream, number| async move {
            for _ in 0..number % 7 + 1 {
                if read_head(&mut stream).await.is_none() {
                    return;
                }
                write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let front = front(&[origin.url()], |config| config.pool.max_connections = 8);
        let all = join_all((0..16).map(|_| async {
            for _ in 0..100 {
                assert_eq!(front.text(get("/"), &call()).await.map(|(_, text)| text), Ok("ok".to_owned()));
            }
        }))
        .await;
        assert_eq!(all.len(), 16);
    });
}

#[test]
fn the_deadline_holds_in_every_place() {
    run(async {
        let silent = raw(|mut stream, _| async move { while read_head(&mut stream).await.is_some() {} }).await;
        let front = front(&[silent.url()], |_| {});
        let soon = || Call::until(std::time::Instant::now() + Duration::from_millis(40));
        assert_eq!(front.text(get("/"), &soon()).await, Err(FailureKind::Deadline));
        let front = crate::support::front(&[silent.url()], |config| config.timeouts.first_byte_ms = 40);
        let failure = front.send(get("/"), &call()).await.expect_err("silence");
        assert_eq!(failure.kind(), FailureKind::FirstByteTimeout);
        let error = kernel::Error::from(failure);
        assert_eq!((error.status(), error.code()), (504, "gateway.upstream_timeout"));
        eventually("the connections are closed", async || silent.seen.open.get() == 0).await;
    });
}

/// A server that hangs and one deadline after the other: that is a failure of the server too.
#[test]
fn deadlines_that_a_server_misses_open_the_circuit() {
    run(async {
        let silent = raw(|mut stream, _| async move { while read_head(&mut stream).await.is_some() {} }).await;
        let front = front(&[silent.url()], |config| config.breaker.min_requests = 3);
        for expected in [FailureKind::Deadline, FailureKind::Deadline, FailureKind::Deadline, FailureKind::CircuitOpen]
        {
            let soon = Call::until(std::time::Instant::now() + Duration::from_millis(20));
            assert_eq!(front.text(get("/"), &soon).await, Err(expected));
        }
    });
}

#[test]
fn an_answer_may_end_on_another_thread() {
    run(async {
        let origin = origin(hello).await;
        let front = front(&[origin.url()], |config| config.pool.max_connections = 1);
        for _ in 0..10 {
            let response = front.send(get("/"), &call()).await.expect("a head");
            // As when a service of another runtime reads the body.
            let read = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(crate::support::text(response))
            });
            eventually("it is read", async || read.is_finished()).await;
            assert_eq!(read.join().expect("a text"), "hello");
        }
        assert_eq!(origin.seen.connections.get(), 1);
    });
}
