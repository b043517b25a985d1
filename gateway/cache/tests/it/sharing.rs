//! Several nodes over one Redis: they share answers and invalidations; without Redis each goes on by itself.

use std::time::Duration;

use http_cache::{Config, Outcome, PolicyConfig, RedisConfig};
use kernel::Clock;

use crate::bench::{Bench, ask, local, reply, settle};
use crate::redis_server::{RedisServer, eventually};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn node(server: &RedisServer, clock: &Clock) -> Bench {
    let redis = RedisConfig { url: server.url(), bound_ms: 1_000, timeout_ms: 1_000, ..RedisConfig::default() };
    let policy = PolicyConfig { tags: vec!["items".into()], ..PolicyConfig::default() };
    Bench::with_clock(Config { redis: Some(redis), ..Config::default() }, policy, clock.clone())
}

/// Waits until what this node fetches reaches the other.
async fn in_touch(one: &Bench, other: &Bench) {
    one.always(|_| reply(&[FRESH], "probe"));
    let mut number = 0;
    eventually("the nodes share", async || {
        number += 1;
        let path = format!("/probe/{number}");
        one.get(&path).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        other.always(|_| reply(&[FRESH], "own"));
        other.get(&path).await.body == "probe"
    })
    .await;
    for bench in [one, other] {
        bench.origin.borrow_mut().usual = None;
        bench.origin.borrow_mut().seen.clear();
    }
}

#[test]
fn nodes_share_answers_variants_and_invalidations() {
    local(async {
        let Some(server) = RedisServer::start() else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other).await;
        one.next(reply(&[FRESH, ("vary", "accept"), ("cache-tag", "a")], "de"));
        one.send(ask("GET", "/a", &[("accept", "de")])).await;
        eventually("the other node has it", async || {
            other.always(|_| reply(&[("cache-control", "no-store")], "own"));
            let got = other.send(ask("GET", "/a", &[("accept", "de")])).await;
            got.outcome == Outcome::Hit && got.body == "de"
        })
        .await;
        assert_eq!(other.send(ask("GET", "/a", &[("accept", "en")])).await.body, "own", "another variant");
        one.cache.invalidate(None, &["a"]);
        eventually("the other node has heard", async || {
            other.send(ask("GET", "/a", &[("accept", "de")])).await.body == "own"
        })
        .await;
        // And a third, which has heard nothing, does not believe what Redis still has.
        let third = node(&server, &clock);
        third.always(|_| reply(&[("cache-control", "no-store")], "third"));
        for _ in 0..20 {
            assert_eq!(third.send(ask("GET", "/a", &[("accept", "de")])).await.body, "third");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
}

#[test]
fn a_fill_that_began_before_another_node_s_invalidation_is_not_shared() {
    local(async {
        let Some(server) = RedisServer::start() else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other).await;
        let gate = one.next_later(reply(&[FRESH], "old"));
        let filling = tokio::task::spawn_local({
            let one = one.clone();
            async move { one.get("/a").await }
        });
        eventually("the origin is asked", async || one.fetches() == 1).await;
        other.cache.invalidate(None, &["items"]);
        // Told to Redis, and from there to the first node, which then keeps nothing of what it began before.
        one.always(|_| reply(&[FRESH], "new"));
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        gate.notify_one();
        filling.await.unwrap();
        assert_eq!(one.get("/a").await.body, "new");
        other.always(|_| reply(&[FRESH], "new"));
        assert_eq!(other.get("/a").await.body, "new");
    });
}

#[test]
fn without_redis_there_is_memory_for_a_while_and_never_an_error() {
    local(async {
        let Some(mut server) = RedisServer::start() else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other).await;
        one.always(|_| reply(&[FRESH], "a"));
        one.get("/a").await;
        server.kill();
        for number in 0..50 {
            assert_eq!(one.get(&format!("/gone/{number}")).await.body, "a");
        }
        // What another node may have invalidated meanwhile is not given for longer than the bound.
        eventually("the old answer is not trusted", async || one.get("/a").await.outcome != Outcome::Hit).await;
        server.resume();
        in_touch(&one, &other).await;
    });
}

#[test]
fn a_redis_that_hangs_is_left_alone_soon() {
    local(async {
        let Some(server) = RedisServer::start() else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other).await;
        server.hang(true);
        one.always(|_| reply(&[("cache-control", "no-cache")], "a"));
        for number in 0..200 {
            assert_eq!(one.get(&format!("/hung/{number}")).await.body, "a");
        }
        settle().await;
        server.hang(false);
        in_touch(&one, &other).await;
    });
}
