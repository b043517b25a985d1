//! Breakers, ejection, health checks, bulkheads: through real sockets.

use std::cell::Cell;
use std::rc::Rc;

use fixtures::eventually;
use futures_util::future::join_all;
use http::StatusCode;
use kernel::TenantId;
use upstream::{Balance, FailureKind};

use crate::support::{answer, call, front, get, of, origin, raw, run};

/// A server that fails for requests to `/bad`.
async fn moody() -> crate::support::Origin {
    origin(|request| async move { answer(if request.uri() == "/bad" { 500 } else { 200 }, "") }).await
}

#[test]
fn a_tenants_failures_open_its_own_circuit_only() {
    run(async {
        let origin = moody().await;
        let front = front(&[origin.url()], |config| config.breaker.min_requests = 10);
        let (bad, good) = (TenantId::new(), TenantId::new());
        for _ in 0..10 {
            front.text(get("/bad"), &of(bad)).await.expect("an answer");
        }
        let refused = front.send(get("/good"), &of(bad)).await.expect_err("the circuit is open");
        assert_eq!(refused.kind(), FailureKind::CircuitOpen);
        assert_eq!(refused.retry_after_seconds(), Some(5));
        let error = kernel::Error::from(refused);
        assert_eq!((error.status(), error.code()), (503, "gateway.circuit_open"));
        for call in [of(good), call()] {
            assert!(front.text(get("/good"), &call).await.is_ok());
        }
        assert_eq!(front.metric("upstream_breakers_open", "under_test"), 1.0);
        assert_eq!(front.metric("upstream_servers_ejected", "under_test"), 0.0);
    });
}

#[test]
fn client_errors_never_open_it() {
    run(async {
        let origin = origin(|_| async { answer(404, "") }).await;
        let front = front(&[origin.url()], |config| config.breaker.min_requests = 5);
        let call = of(TenantId::new());
        for _ in 0..50 {
            assert!(front.text(get("/"), &call).await.is_ok());
        }
    });
}

#[test]
fn it_closes_when_the_probes_are_answered() {
    run(async {
        let failing = Rc::new(Cell::new(true));
        let now = failing.clone();
        let origin = origin(move |_| {
            let status = if now.get() { 500 } else { 200 };
            async move { answer(status, "") }
        })
        .await;
        let front = front(&[origin.url()], |config| {
            (config.breaker.min_requests, config.breaker.open_ms, config.breaker.probes) = (5, 50, 2);
        });
        let call = of(TenantId::new());
        for _ in 0..5 {
            front.text(get("/"), &call).await.expect("an answer");
        }
        assert_eq!(front.text(get("/"), &call).await, Err(FailureKind::CircuitOpen));
        failing.set(false);
        let before = origin.requests();
        eventually("a probe is let through", async || front.text(get("/"), &call).await.is_ok()).await;
        assert!(front.text(get("/"), &call).await.is_ok());
        assert_eq!(origin.requests(), before + 2);
        assert_eq!(front.metric("upstream_breakers_open", "under_test"), 0.0);
    });
}

#[test]
fn connections_that_fail_open_the_circuit_for_everybody() {
    run(async {
        let gone = raw(|_, _| async {}).await;
        gone.stop().await;
        let front = front(&[gone.url()], |config| config.breaker.min_requests = 10);
        for _ in 0..10 {
            assert_eq!(front.text(get("/"), &of(TenantId::new())).await, Err(FailureKind::Connect));
        }
        assert_eq!(front.text(get("/"), &of(TenantId::new())).await, Err(FailureKind::CircuitOpen));
    });
}

#[test]
fn a_server_that_fails_in_a_row_is_left_out() {
    run(async {
        let bad = origin(|_| async { answer(500, "") }).await;
        let good = origin(|_| async { answer(200, "") }).await;
        let front = front(&[bad.url(), good.url()], |_| {});
        for _ in 0..60 {
            front.text(get("/"), &of(TenantId::new())).await.expect("an answer");
        }
        assert_eq!((bad.requests(), good.requests()), (5, 55));
        assert_eq!(front.metric("upstream_servers_ejected", "under_test"), 1.0);
        // Half of two may be left out: the second one stays, however bad.
        let both = crate::support::front(&[bad.url(), bad.url().replace("127.0.0.1", "localhost")], |_| {});
        for _ in 0..60 {
            both.text(get("/"), &of(TenantId::new())).await.expect("an answer");
        }
        assert_eq!(both.metric("upstream_servers_ejected", "under_test"), 1.0);
    });
}

#[test]
fn checks_take_a_server_out_and_back() {
    run(async {
        let well = Rc::new(Cell::new(false));
        let now = well.clone();
        let flapping = origin(move |request| {
            let status = if request.uri() != "/health" || now.get() { 200 } else { 503 };
            async move { answer(status, "flapping") }
        })
        .await;
        let steady = origin(|_| async { answer(200, "steady") }).await;
        let front = front(&[flapping.url(), steady.url()], |config| {
            let health = &mut config.health;
            health.path = "/health".into();
            (health.interval_ms, health.healthy_after, health.unhealthy_after) = (10, 2, 2);
        });
        let unhealthy = || front.metric("upstream_servers_unhealthy", "under_test");
        eventually("it is taken out", async || unhealthy() == 1.0).await;
        for _ in 0..10 {
            assert_eq!(front.text(get("/"), &call()).await, Ok((StatusCode::OK, "steady".into())));
        }
        well.set(true);
        eventually("it is back", async || unhealthy() == 0.0).await;
        let texts = join_all((0..10).map(|_| async { front.text(get("/"), &call()).await })).await;
        assert!(texts.contains(&Ok((StatusCode::OK, "flapping".into()))));
    });
}

#[test]
fn with_nobody_well_all_are_used_or_none() {
    run(async {
        let origin =
            origin(|request| async move { answer(if request.uri() == "/health" { 500 } else { 200 }, "") }).await;
        for (panic, answered) in [(true, true), (false, false)] {
            let front = front(&[origin.url()], |config| {
                config.health.path = "/health".into();
                (config.health.interval_ms, config.health.unhealthy_after, config.health.panic) = (10, 1, panic);
            });
            eventually("it is out", async || front.metric("upstream_servers_unhealthy", "under_test") == 1.0).await;
            match front.send(get("/"), &call()).await {
                Ok(_) => assert!(answered),
                Err(failure) => {
                    assert!(!answered);
                    assert_eq!(kernel::Error::from(failure).code(), "gateway.no_healthy_server");
                }
            }
        }
    });
}

#[test]
fn the_bulkhead_counts_until_the_end_of_the_body() {
    run(async {
        let origin = origin(|_| async { answer(200, "body") }).await;
        let front = front(&[origin.url()], |config| {
            (config.bulkhead.max_in_flight, config.bulkhead.queue) = (1, 0);
        });
        let held = front.send(get("/"), &call()).await.expect("a head");
        assert_eq!(front.text(get("/"), &call()).await, Err(FailureKind::Busy));
        assert_eq!(crate::support::text(held).await, "body");
        assert!(front.text(get("/"), &call()).await.is_ok());
        drop(front.send(get("/"), &call()).await.expect("a head"));
        assert!(front.text(get("/"), &call()).await.is_ok());
    });
}

#[test]
fn a_tenants_share_leaves_room_for_others() {
    run(async {
        let origin = origin(|_| async { answer(200, "body") }).await;
        let front = front(&[origin.url()], |config| {
            (config.bulkhead.max_in_flight, config.bulkhead.tenant_share) = (4, 0.5);
        });
        let greedy = of(TenantId::new());
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(front.send(get("/"), &greedy).await.expect("a head"));
        }
        assert_eq!(front.text(get("/"), &greedy).await, Err(FailureKind::Busy));
        assert!(front.text(get("/"), &of(TenantId::new())).await.is_ok());
        held.clear();
        assert!(front.text(get("/"), &greedy).await.is_ok());
    });
}

#[test]
fn every_way_to_balance_reaches_every_server() {
    run(async {
        for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::P2c] {
            let servers = [moody().await, moody().await, moody().await];
            let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
            let front = front(&urls, |config| config.balance = balance);
            for _ in 0..150 {
                front.text(get("/"), &call()).await.expect("an answer");
            }
            // P2C may find that one of them is the fastest.
            let least = if balance == Balance::P2c { 1 } else { 10 };
            assert!(servers.iter().all(|server| server.requests() >= least), "{balance:?}");
        }
    });
}
