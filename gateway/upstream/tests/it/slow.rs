//! Clients that send their bodies slowly: it is their fault, and nobody else's loss.

use std::future::ready;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use fixtures::eventually;
use futures_util::future::{join_all, select_all};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kernel::TenantId;
use tokio::sync::Barrier;
use upstream::{Call, Failure, FailureKind};

use crate::support::{Front, Origin, answer, call, front, get, of, origin, post, run};

/// A body that gives a byte now and then and never ends.
fn slow() -> Body {
    Body::from_stream(stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from("x")), ()))
    }))
}

/// A server that reads all of a request before it answers.
async fn patient() -> Origin {
    origin(|request| async move {
        let _ = request.into_body().collect().await;
        answer(200, "read")
    })
    .await
}

fn within(milliseconds: u64) -> Call {
    Call::until(Instant::now() + Duration::from_millis(milliseconds))
}

#[test]
fn a_deadline_that_passes_while_the_client_sends_is_the_clients_fault() {
    run(async {
        let servers = [patient().await, patient().await];
        let front = front(&[servers[0].url(), servers[1].url()], |config| config.breaker.min_requests = 5);
        for retry in [false, true] {
            let call = Call { retry, ..within(60) };
            let put = || Request::put("/").body(slow()).expect("a request");
            for failure in join_all((0..30).map(|_| front.send(put(), &call))).await {
                let failure = failure.expect_err("it never ends");
                assert_eq!(failure.kind(), FailureKind::RequestStalled);
                let error = kernel::Error::from(failure);
                assert_eq!((error.status(), error.code()), (408, "request.body_timeout"));
            }
        }
        for _ in 0..20 {
            assert_eq!(front.text(get("/"), &call()).await, Ok((StatusCode::OK, "read".into())));
        }
        assert_eq!(front.metric("upstream_breakers_open", "under_test"), 0.0);
        assert_eq!(front.metric("upstream_servers_ejected", "under_test"), 0.0);
    });
}

/// Who uses up nearly all of the time does not have the server judged for what is left of it.
#[test]
fn a_body_that_ends_just_before_the_deadline_blames_nobody() {
    run(async {
        let silent = origin(|request| async move {
            let _ = request.into_body().collect().await;
            std::future::pending().await
        })
        .await;
        let front = front(&[silent.url()], |config| config.breaker.min_requests = 3);
        let late = || Body::from_stream(slow().into_data_stream().take(30));
        for _ in 0..6 {
            let failure = front.send(post("/", late()), &within(200)).await.expect_err("no answer");
            assert!(matches!(failure.kind(), FailureKind::Deadline | FailureKind::RequestStalled), "{failure}");
        }
        assert_eq!(front.metric("upstream_breakers_open", "under_test"), 0.0);
        for _ in 0..3 {
            assert_eq!(front.text(post("/", "at once"), &within(40)).await, Err(FailureKind::Deadline));
        }
        assert_eq!(front.metric("upstream_breakers_open", "under_test"), 1.0);
    });
}

#[test]
fn the_first_byte_is_waited_for_from_the_end_of_the_body() {
    run(async {
        let prompt = patient().await;
        let front = front(&[prompt.url()], |config| config.timeouts.first_byte_ms = 400);
        let begun = Instant::now();
        let longer = slow().into_data_stream().take_while(move |_| ready(begun.elapsed() < Duration::from_millis(450)));
        let answered = front.text(post("/", Body::from_stream(longer)), &call()).await;
        assert_eq!(answered, Ok((StatusCode::OK, "read".into())));
        let silent = origin(|request| async move {
            let _ = request.into_body().collect().await;
            std::future::pending().await
        })
        .await;
        let front = crate::support::front(&[silent.url()], |config| config.timeouts.first_byte_ms = 40);
        let body = Body::from_stream(slow().into_data_stream().take(20));
        assert_eq!(front.text(post("/", body), &call()).await, Err(FailureKind::FirstByteTimeout));
    });
}

/// Starts uploads that never end, lets them meet their limits, and does something while they go on.
async fn beside(front: &Front, calls: &[Call], held: usize, then: impl Future<Output = ()>) {
    let mut uploads: Vec<_> = calls.iter().map(|call| front.send(post("/", slow()), call).boxed_local()).collect();
    while uploads.len() > held {
        let (ended, _, rest) = select_all(uploads).await;
        let failure: Failure = ended.expect_err("refused");
        assert_eq!((failure.kind(), failure.retry_after_seconds()), (FailureKind::Busy, Some(1)));
        uploads = rest;
    }
    tokio::select! {
        (ended, _, _) = select_all(uploads) => panic!("no more than its share was refused: {ended:?}"),
        () = then => {}
    }
}

#[test]
fn slow_uploads_of_one_leave_room_for_all_others() {
    run(async {
        let (address, same_network, elsewhere): (IpAddr, IpAddr, IpAddr) = (
            "2001:db8::1".parse().expect("an address"),
            "2001:db8::2".parse().expect("an address"),
            "2001:db8:0:1::1".parse().expect("an address"),
        );
        let at = |client: IpAddr| Call { client: Some(client), ..call() };
        let greedy = TenantId::new();
        let by_tenant: Vec<Call> = (0..20).map(|_| of(greedy)).collect();
        let by_address: Vec<Call> = (0..20).map(|n| at(if n % 2 == 0 { address } else { same_network })).collect();
        for calls in [by_tenant, by_address] {
            let origin = patient().await;
            let front = front(&[origin.url()], |config| {
                (config.bulkhead.max_in_flight, config.bulkhead.queue) = (8, 0);
                (config.pool.max_connections, config.pool.queue) = (8, 0);
                config.bulkhead.upload_share = 0.25;
            });
            beside(&front, &calls, 2, async {
                eventually("they are there", async || origin.requests() == 2).await;
                for call in [of(TenantId::new()), call(), at(elsewhere), calls[0].clone()] {
                    for _ in 0..20 {
                        assert_eq!(front.text(get("/"), &call).await, Ok((StatusCode::OK, "read".into())));
                    }
                }
                for call in [of(TenantId::new()), at(elsewhere)] {
                    assert_eq!(front.text(post("/", "body"), &call).await, Ok((StatusCode::OK, "read".into())));
                }
            })
            .await;
            // What they held is free again.
            while front.text(post("/", "body"), &calls[0]).await == Err(FailureKind::Busy) {
                tokio::task::yield_now().await;
            }
        }
    });
}

/// The limit is on those who send, not on those who wait for the server.
#[test]
fn a_body_that_came_whole_counts_no_longer() {
    run(async {
        let all_are_here = Rc::new(Barrier::new(4));
        let origin = origin(move |request| {
            let all_are_here = all_are_here.clone();
            async move {
                let _ = request.into_body().collect().await;
                all_are_here.wait().await;
                answer(200, "read")
            }
        })
        .await;
        let front = front(&[origin.url()], |config| {
            (config.bulkhead.max_in_flight, config.bulkhead.upload_share) = (8, 0.125);
        });
        let call = of(TenantId::new());
        let sends = async |n: usize| {
            eventually("those before were read", async || origin.requests() == n).await;
            front.text(post("/", "body"), &call).await
        };
        let all = tokio::join!(sends(0), sends(1), sends(2), sends(3));
        let good = Ok((StatusCode::OK, "read".into()));
        assert_eq!(all, (good.clone(), good.clone(), good.clone(), good));
    });
}
