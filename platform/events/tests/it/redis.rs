//! Redis wakes and carries, and may go away, forget everything and come back: the log has it all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use events::{Dispatcher, Doorbell, NamedSink, RedisStreams};
use fixtures::{RedisServer, eventually};
use serde_json::Value;
use store::Store;

use crate::ground::{CHANGED, Ground, grounds, settle};

type Entries = Vec<(String, HashMap<String, String>)>;

fn dispatcher(ground: &Ground, redis: &RedisServer) -> Dispatcher {
    let sink = RedisStreams::new(&redis.url(), "test", 100_000).expect("an address");
    Dispatcher::with_sinks(ground.store.clone(), Vec::new(), vec![NamedSink::new("redis", sink)])
}

async fn entries(redis: &RedisServer) -> Vec<HashMap<String, String>> {
    let entries: Entries = redis.ask(&["XRANGE", "test:events", "-", "+"]).await;
    entries.into_iter().map(|(_, fields)| fields).collect()
}

fn positions(entries: &[HashMap<String, String>]) -> Vec<i64> {
    entries.iter().map(|fields| fields["position"].parse().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_to_a_stream_in_order_and_again_when_asked() {
    let Some(redis) = RedisServer::start().await else { return };
    for ground in grounds().await {
        let _: () = redis.ask(&["FLUSHALL"]).await;
        let tenant = ground.tenant("one").await;
        let dispatcher = dispatcher(&ground, &redis);
        ground.record(tenant, &["a", "b", "c"]).await;
        settle(&dispatcher).await;
        let there = entries(&redis).await;
        assert_eq!(positions(&there), [1, 2, 3]);
        let document: Value = serde_json::from_str(&there[0]["event"]).expect("JSON");
        assert_eq!((document["type"].as_str(), document["subject"].as_str()), (Some(CHANGED), Some("a")));
        assert_eq!(document["id"], there[0]["id"].as_str());
        assert_eq!(there[0]["tenant"], tenant.to_string());

        let _: () = redis.ask(&["FLUSHALL"]).await;
        ground.record(tenant, &["d"]).await;
        settle(&dispatcher).await;
        assert_eq!(positions(&entries(&redis).await), [4], "what comes after a flush arrives");
        events::replay(&ground.store, &[], "sink:redis", 0, None, false).await.expect("goes back");
        settle(&dispatcher).await;
        assert_eq!(positions(&entries(&redis).await), [4, 1, 2, 3, 4], "what was flushed comes again when asked for");
        let of_one = events::replay(&ground.store, &[], "sink:redis", 0, Some(tenant), false).await;
        assert_eq!(of_one.expect_err("refused").code(), "events.sink_has_no_tenants");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_loses_nothing_while_redis_is_away() {
    let Some(mut redis) = RedisServer::start().await else { return };
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let running = dispatcher(&ground, &redis).start();
        ground.record(tenant, &["a", "b"]).await;
        eventually("they arrive", async || entries(&redis).await.len() == 2).await;
        redis.kill();
        ground.record(tenant, &["c", "d", "e"]).await;
        redis.resume().await;
        ground.record(tenant, &["f"]).await;
        // At least once: what was under way when it was killed may come again.
        let all = async || positions(&entries(&redis).await).into_iter().collect::<BTreeSet<_>>();
        eventually("the rest arrives", async || all().await.is_superset(&BTreeSet::from([3, 4, 5, 6]))).await;
        running.stop().await;
        redis.kill();
        redis.resume().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_rings_in_other_processes_and_never_in_a_circle() {
    let Some(mut redis) = RedisServer::start().await else { return };
    let Some(ground) = grounds().await.pop() else { return };
    // Another process: a store of its own over the same data.
    let other = Store::open(ground.database.config.clone(), ground.clock.clone()).await.expect("opens");
    let tenant = ground.tenant("one").await;
    let (here, there) = (
        Doorbell::connect(&redis.url(), "test", &ground.store).expect("an address"),
        Doorbell::connect(&redis.url(), "test", &other).expect("an address"),
    );
    let told = Arc::new(AtomicU64::new(0));
    let counter = told.clone();
    there.on_tasks(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    for round in 0..2 {
        for bell in [&here, &there] {
            bell.connected().wait_for(|connected| *connected).await.expect("it runs");
        }
        // Each rings once when it connects, for what it may have missed; let that be over.
        let (mut rung, before) = (other.readable(), told.load(Ordering::SeqCst));
        rung.mark_unchanged();
        ground.record(tenant, &["a"]).await;
        let heard = tokio::time::timeout(std::time::Duration::from_secs(10), rung.changed()).await;
        heard.expect("it rings").expect("the store is open");
        here.ring_tasks();
        eventually("tasks are told of", async || told.load(Ordering::SeqCst) > before).await;
        // A sentinel after it on the same channel: whatever echoes would have come before.
        let (counts, before) =
            ((*ground.store.readable().borrow(), *other.readable().borrow()), told.load(Ordering::SeqCst));
        here.ring_tasks();
        eventually("it comes after all", async || told.load(Ordering::SeqCst) > before).await;
        assert_eq!((*ground.store.readable().borrow(), *other.readable().borrow()), counts, "nothing echoes");
        if round == 0 {
            redis.kill();
            for bell in [&here, &there] {
                bell.connected().wait_for(|connected| !*connected).await.expect("it runs");
            }
            // Nobody who commits notices.
            ground.record(tenant, &["b"]).await;
            here.ring_tasks();
            redis.resume().await;
        }
    }
    other.close().await;
}
