//! Several nodes over one Redis: they share answers and invalidations; without Redis each goes on by itself.

use fixtures::{RedisServer, eventually};
use http_cache::{Config, Outcome, PolicyConfig, RedisConfig};
use kernel::Clock;

use crate::bench::{Bench, ask, local, reply, settle};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn node(server: &RedisServer, clock: &Clock) -> Bench {
    let redis = RedisConfig { url: server.url(), bound_ms: 1_000, timeout_ms: 1_000, ..RedisConfig::default() };
    let policy = PolicyConfig { tags: vec!["items".into()], ..PolicyConfig::default() };
    // A node whose own answer cannot be kept looks in Redis again the next time.
    let config = Config { redis: Some(redis), hit_for_miss_ms: 0, ..Config::default() };
    Bench::with_clock(config, policy, clock.clone())
}

/// Waits until what this node fetches reaches the other; `also` is asked each time.
async fn share(one: &Bench, other: &Bench, path: &str, mut also: impl AsyncFnMut()) {
    one.always(|_| reply(&[FRESH], "shared"));
    other.always(|_| reply(&[("cache-control", "no-store")], "own"));
    let mut looks = 0;
    eventually("the nodes share", async || {
        also().await;
        // What is fetched before a node is connected is not shared: now and then another is fetched.
        let path = format!("{path}/{}", looks / 16);
        looks += 1;
        one.get(&path).await;
        other.get(&path).await.body == "shared"
    })
    .await;
}

/// Waits until what this node fetches reaches the other.
pub async fn in_touch(one: &Bench, other: &Bench, path: &str) {
    share(one, other, path, async || {}).await;
    for bench in [one, other] {
        bench.origin.borrow_mut().usual = None;
        bench.origin.borrow_mut().seen.clear();
    }
}

#[test]
fn nodes_share_answers_variants_and_invalidations() {
    local(async {
        let Some(server) = RedisServer::start().await else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other, "/probe").await;
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
        third.always(|_| reply(&[("cache-control", "no-store")], "own"));
        let believes = async || third.send(ask("GET", "/a", &[("accept", "de")])).await.body != "own";
        share(&one, &third, "/third", async || assert!(!believes().await)).await;
        assert!(!believes().await);
    });
}

#[test]
fn a_fill_that_began_before_another_node_s_invalidation_is_not_shared() {
    local(async {
        let Some(server) = RedisServer::start().await else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other, "/probe").await;
        one.always(|_| reply(&[FRESH], "before"));
        one.get("/b").await;
        let gate = one.next_later(reply(&[FRESH], "old"));
        let filling = tokio::task::spawn_local({
            let one = one.clone();
            async move { one.get("/a").await }
        });
        eventually("the origin is asked", async || one.fetches() == 2).await;
        other.cache.invalidate(None, &["items"]);
        // Told to Redis, and from there to the first node, which then keeps nothing of what it began before.
        one.always(|_| reply(&[FRESH], "new"));
        eventually("the first has heard", async || one.get("/b").await.body == "new").await;
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
        let Some(mut server) = RedisServer::start().await else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other, "/probe").await;
        one.always(|_| reply(&[FRESH], "a"));
        one.get("/a").await;
        server.kill();
        for number in 0..50 {
            assert_eq!(one.get(&format!("/gone/{number}")).await.body, "a");
        }
        // What another node may have invalidated meanwhile is not given for longer than the bound.
        eventually("the old answer is not trusted", async || one.get("/a").await.outcome != Outcome::Hit).await;
        server.resume().await;
        in_touch(&one, &other, "/back").await;
    });
}

#[test]
fn a_redis_that_hangs_is_left_alone_soon() {
    local(async {
        let Some(server) = RedisServer::start().await else { return };
        let clock = Clock::system();
        let (one, other) = (node(&server, &clock), node(&server, &clock));
        in_touch(&one, &other, "/probe").await;
        server.hang(true);
        one.always(|_| reply(&[("cache-control", "no-cache")], "a"));
        for number in 0..200 {
            assert_eq!(one.get(&format!("/hung/{number}")).await.body, "a");
        }
        settle().await;
        server.hang(false);
        in_touch(&one, &other, "/back").await;
    });
}
