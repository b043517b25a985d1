//! What nodes that share a Redis give of before a clearing, and of what nodes with another file kept: nothing.

use std::sync::Arc;

use fixtures::{RedisServer, eventually};
use http_cache::{Config, Policy, PolicyConfig, RedisConfig};
use kernel::Clock;

use crate::bench::{Bench, local, reply};
use crate::sharing;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const NEVER: (&str, &str) = ("cache-control", "no-store");

/// Returns a node whose route takes this way.
fn node(server: &RedisServer, way: &str) -> Bench {
    let redis = RedisConfig { url: server.url(), bound_ms: 1_000, timeout_ms: 1_000, ..RedisConfig::default() };
    // A node whose own answer cannot be kept looks in Redis again the next time.
    let config = Config { redis: Some(redis), hit_for_miss_ms: 0, ..Config::default() };
    let bench = Bench::with_clock(config, PolicyConfig::default(), Clock::system());
    let policy = Policy::compile(&PolicyConfig::default()).expect("a policy").by_way(way);
    Bench { policy: Arc::new(policy), ..bench }
}

/// Waits until the other node is given what this one fetches.
async fn in_touch(one: &Bench, other: &Bench, path: &str, text: &'static str) {
    sharing::in_touch(one, other, &format!("/probe{path}")).await;
    one.always(move |_| reply(&[FRESH], text));
    one.get(path).await;
    other.always(|_| reply(&[NEVER], "own"));
    eventually("the other node has it", async || other.get(path).await.body == text).await;
}

#[test]
fn what_nodes_with_another_file_kept_is_not_given() {
    local(async {
        let Some(server) = RedisServer::start().await else { return };
        let nodes = ["old", "old", "new", "new"].map(|way| node(&server, way));
        in_touch(&nodes[0], &nodes[1], "/a", "of the old file").await;
        // These see what Redis has, too: each other's.
        in_touch(&nodes[2], &nodes[3], "/b", "of the new file").await;
        for node in &nodes[2..] {
            node.always(|_| reply(&[NEVER], "own"));
            assert_eq!(node.get("/a").await.body, "own");
        }
        assert_eq!(nodes[1].get("/a").await.body, "of the old file");
        assert_eq!(nodes[1].get("/b").await.body, "own");
    });
}

#[test]
fn what_is_cleared_on_one_node_is_cleared_on_all_and_in_redis() {
    local(async {
        let Some(server) = RedisServer::start().await else { return };
        let (one, other) = (node(&server, "one"), node(&server, "one"));
        in_touch(&one, &other, "/a", "old").await;
        one.cache.clear();
        one.always(|_| reply(&[NEVER], "new"));
        assert_eq!(one.get("/a").await.body, "new", "also while Redis has not been told");
        eventually("the other has heard", async || other.get("/a").await.body == "own").await;
        // And when both read from Redis again.
        in_touch(&one, &other, "/b", "later").await;
        for node in [&one, &other] {
            node.always(|_| reply(&[NEVER], "new"));
            assert_eq!(node.get("/a").await.body, "new");
        }
        let third = node(&server, "one");
        in_touch(&one, &third, "/c", "last").await;
        third.always(|_| reply(&[NEVER], "new"));
        assert_eq!(third.get("/a").await.body, "new");
    });
}
