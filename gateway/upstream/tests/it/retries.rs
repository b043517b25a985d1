//! What is sent again and what is not, the budget, hedges.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use fixtures::eventually;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use upstream::{Call, FailureKind};

use crate::support::{Origin, answer, call, front, gated, get, origin, post, raw, read_head, retrying, run};

/// A server that fails so many times with a status and then answers with the request's body.
async fn fails(times: usize, status: u16) -> Origin {
    let left = Rc::new(Cell::new(times));
    origin(move |request| {
        let left = left.clone();
        async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            match left.get() {
                0 => answer(200, body),
                more => {
                    left.set(more - 1);
                    answer(status, "failed")
                }
            }
        }
    })
    .await
}

fn put(body: impl Into<Body>) -> Request<Body> {
    Request::put("/").body(body.into()).expect("a request")
}

#[test]
fn idempotent_requests_are_sent_again_and_others_are_not() {
    run(async {
        for (request, call, sent) in [
            (get("/"), retrying(), 2),
            (put("body"), retrying(), 2),
            (put("body"), call(), 1),
            (post("/", "body"), retrying(), 1),
            (post("/", Body::empty()), retrying(), 1),
        ] {
            let origin = fails(1, 503).await;
            let method = request.method().clone();
            let (status, _) = front(&[origin.url()], |_| {}).text(request, &call).await.expect("an answer");
            assert_eq!((origin.requests(), status == StatusCode::OK), (sent, sent == 2), "{method}");
        }
        for (honours, sent) in [(true, 2), (false, 1)] {
            let origin = fails(1, 502).await;
            let mut request = post("/", "body");
            request.headers_mut().insert("idempotency-key", "\"k\"".parse().expect("a value"));
            let call = Call { honours_idempotency_key: honours, ..retrying() };
            front(&[origin.url()], |_| {}).text(request, &call).await.expect("an answer");
            assert_eq!(origin.requests(), sent);
        }
    });
}

#[test]
fn only_what_the_configuration_names_is_sent_again() {
    run(async {
        for (status, sent) in [(500, 1), (404, 1), (429, 1), (502, 2), (503, 2), (504, 2)] {
            let origin = fails(1, status).await;
            front(&[origin.url()], |_| {}).text(get("/"), &retrying()).await.expect("an answer");
            assert_eq!(origin.requests(), sent, "{status}");
        }
        let origin = fails(9, 503).await;
        let last = front(&[origin.url()], |_| {}).text(get("/"), &retrying()).await;
        assert_eq!(last, Ok((StatusCode::SERVICE_UNAVAILABLE, "failed".into())), "the last answer passes as it is");
        assert_eq!(origin.requests(), 3);
    });
}

#[test]
fn a_body_is_sent_again_whole_unless_it_is_too_long_to_keep() {
    run(async {
        for (parts, sent) in [(10, 2), (100, 1)] {
            let origin = fails(1, 503).await;
            let body = stream::iter((0..parts).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1000]))));
            let front = front(&[origin.url()], |_| {});
            let (status, text) = front.text(put(Body::from_stream(body)), &retrying()).await.expect("an answer");
            assert_eq!(origin.requests(), sent);
            match sent {
                2 => assert_eq!((status, text.len()), (StatusCode::OK, 10_000)),
                _ => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
            }
        }
    });
}

#[test]
fn a_reset_before_the_answer_is_sent_again_elsewhere() {
    run(async {
        let bad = raw(|mut stream, _| async move {
            let _ = read_head(&mut stream).await;
            crate::support::reset(stream);
        })
        .await;
        let good = origin(|_| async { answer(200, "good") }).await;
        let front = front(&[bad.url(), good.url()], |config| config.outlier.consecutive_failures = 0);
        for _ in 0..20 {
            let (_, text) = front.text(get("/"), &Call { ..retrying() }).await.unwrap_or_default();
            if text != "good" {
                assert!(front.metric("upstream_retries_denied", "under_test") > 0.0, "only the budget ends it");
            }
        }
        assert!(front.metric("upstream_retries", "under_test") >= 3.0);
    });
}

#[test]
fn where_nobody_listens_even_a_post_goes_elsewhere_once() {
    run(async {
        let gone = raw(|_, _| async {}).await;
        gone.stop().await;
        let good = fails(0, 0).await;
        let front = front(&[gone.url(), good.url()], |_| {});
        for _ in 0..3 {
            assert_eq!(front.text(post("/", "body"), &retrying()).await, Ok((StatusCode::OK, "body".into())));
        }
        assert_eq!(good.requests(), 3);
    });
}

/// Every answer fails: what arrives is at most 1.2 times what was asked.
#[test]
fn the_budget_keeps_retries_from_becoming_the_load() {
    run(async {
        let origin = origin(|_| async { answer(503, "") }).await;
        let front = front(&[origin.url()], |config| {
            config.breaker.enabled = false;
            config.retry.backoff_ms = 0;
        });
        for _ in 0..500 {
            front.text(get("/"), &retrying()).await.expect("an answer");
        }
        let sent = origin.requests();
        assert!((590..=600).contains(&sent), "{sent}");
        assert!(front.metric("upstream_retries_denied", "under_test") > 300.0);
    });
}

#[test]
fn retry_after_is_honoured_within_the_deadline() {
    run(async {
        let asked = |seconds: &'static str| async move {
            let first = Rc::new(Cell::new(None::<Instant>));
            let origin = origin(move |_| {
                let before = first.replace(Some(first.get().unwrap_or_else(Instant::now)));
                let mut response: Response<Body> = answer(503, "");
                response.headers_mut().insert("retry-after", seconds.parse().expect("a value"));
                async move {
                    match before {
                        None => response,
                        Some(at) => answer(200, at.elapsed().as_millis().to_string()),
                    }
                }
            })
            .await;
            let front = front(&[origin.url()], |_| {});
            (front.text(get("/"), &retrying()).await.expect("an answer"), origin.requests())
        };
        let ((status, waited), _) = asked("1").await;
        assert_eq!(status, StatusCode::OK);
        assert!(waited.parse::<u64>().expect("a number") >= 1000);
        let ((status, _), sent) = asked("3600").await;
        assert_eq!((status, sent), (StatusCode::SERVICE_UNAVAILABLE, 1), "it would be too late");
    });
}

#[test]
fn the_total_deadline_ends_it() {
    run(async {
        let origin = origin(|_| async { answer(503, "") }).await;
        let front = front(&[origin.url()], |config| {
            (config.retry.backoff_ms, config.retry.backoff_max_ms, config.retry.max_attempts) = (60_000, 60_000, 10);
        });
        let call = Call { retry: true, ..Call::until(Instant::now() + Duration::from_millis(50)) };
        let (status, _) = front.text(get("/"), &call).await.expect("the answer there is");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    });
}

#[test]
fn a_hedge_asks_a_second_server_and_cancels_the_loser() {
    run(async {
        let slow = origin(|_| std::future::pending()).await;
        let fast = origin(|_| async { answer(200, "fast") }).await;
        let front = front(&[slow.url(), fast.url()], |config| config.retry.hedge_after_ms = 20);
        let hedged = Call { hedge: true, ..call() };
        for _ in 0..4 {
            assert_eq!(front.text(get("/"), &hedged).await, Ok((StatusCode::OK, "fast".into())));
        }
        assert_eq!(front.metric("upstream_hedges", "under_test"), 2.0);
        eventually("the losers are cancelled", async || slow.seen.open.get() == 0).await;
        let soon = Call { hedge: true, ..Call::until(Instant::now() + Duration::from_millis(80)) };
        let unsafe_one = [front.text(post("/", "x"), &soon).await, front.text(post("/", "x"), &soon).await];
        assert!(unsafe_one.contains(&Err(FailureKind::Deadline)), "{unsafe_one:?}");
        assert_eq!(front.metric("upstream_hedges", "under_test"), 2.0);
    });
}

#[test]
fn hedges_are_in_the_budget() {
    run(async {
        let ((one, first), (other, second)) = (gated().await, gated().await);
        let front = front(&[one.url(), other.url()], |config| config.retry.hedge_after_ms = 1);
        let hedged = Call { hedge: true, ..call() };
        let (hedges, denied) = (|| front.metric("upstream_hedges", ""), || front.metric("upstream_retries_denied", ""));
        for number in 1..=40 {
            let decided = async {
                eventually("it is hedged or not", async || hedges() + denied() == f64::from(number)).await;
                [&first, &second].iter().for_each(|gate| gate.add_permits(100));
            };
            let (answered, ()) = tokio::join!(front.text(get("/"), &hedged), decided);
            answered.expect("an answer");
            // The loser, if it came there at all, may have taken one.
            for gate in [&first, &second] {
                gate.forget_permits(100);
            }
        }
        assert_eq!((hedges(), denied()), (8.0, 32.0));
    });
}
