//! Events have positions in which readers can trust: whoever has seen p never later meets a smaller
//! one, none is missing, and each subject's events stand in the order in which they happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::{Answer, Id, TenantId};
use store::{Engine, EventRow, Store, assign_positions};
use tokio::task::JoinSet;

use crate::ground::{self, Random, abandon_after, add, engines, every_event, history, insert, renamed};
use crate::shop::{self, shelf as shelves};

use shelves::{Entity, Shelf};

const WRITERS: u64 = 16;
const ROUNDS: u64 = 15;

/// Writes, each time with a delay between the change and its commit.
async fn write(store: Store, tenant: TenantId, shared: Id<Shelf>, seed: u64) {
    let mut random = Random::seeded(seed);
    for _ in 0..ROUNDS {
        let (delay_us, both) = (random.below(4_000), random.below(2) == 0);
        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        insert(&mut writer, "own").await;
        if both {
            writer.update::<Entity>(shared, None, renamed("shared")).await.expect("updates");
        }
        // On SQLite this holds the lane; the group commit is for those that do not dawdle.
        if store.engine() == Engine::Postgres {
            tokio::time::sleep(Duration::from_micros(delay_us)).await;
        }
        if random.below(8) == 0 {
            writer.roll_back().await.expect("undoes");
        } else {
            writer.commit(Answer::no_content()).await.expect("commits");
        }
    }
}

/// Gives positions, sometimes going away in the middle of it.
async fn relay(store: Store, stop: Arc<AtomicBool>, seed: u64) {
    let mut random = Random::seeded(seed);
    while !stop.load(Ordering::SeqCst) {
        let polls = if random.below(4) == 0 { random.below(12) } else { u64::MAX };
        if let Some(end) = abandon_after(polls, assign_positions(&store)).await {
            end.expect("numbers");
        }
        tokio::task::yield_now().await;
    }
}

/// Reads on from what it has seen, as a consumer does, until it has seen the end.
async fn consume(store: Store, tenant: TenantId, stop: Arc<AtomicBool>, seed: u64) -> Vec<EventRow> {
    let mut random = Random::seeded(seed);
    let mut seen: Vec<EventRow> = Vec::new();
    loop {
        let stopped = stop.load(Ordering::SeqCst);
        let last = seen.last().and_then(|event| event.position).unwrap_or(0);
        let ctx = shop::ctx(tenant);
        let reader = store.read(&ctx).await.expect("opens");
        let page = reader.events_after(last, &every_event(), 1 + random.below(40)).await.expect("reads");
        // What was seen is still all there is up to here: nothing came in between afterwards.
        if random.below(6) == 0 {
            let whole = reader.events_after(0, &every_event(), 1_000_000).await.expect("reads");
            let before: Vec<_> = whole.into_iter().filter(|event| event.position <= Some(last)).collect();
            assert!(before == seen, "something came in between, up to {last}");
        }
        reader.close().await.expect("closes");
        if page.is_empty() && stopped {
            return seen;
        }
        seen.extend(page);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_seen_a_position_never_meets_a_smaller_one() {
    for database in engines().await {
        // Every writer may hold a connection, and the relays and readers need theirs.
        let store = ground::open_with(&database, |config| config.connections = 24).await;
        let tenant = shop::tenant(&store, "one").await;
        let shared = add(&store, tenant, "shared").await.expect("adds");
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            writers.spawn(write(store.clone(), tenant, shared, number));
        }
        let relays: Vec<_> = (0..2).map(|seed| tokio::spawn(relay(store.clone(), stop.clone(), 50 + seed))).collect();
        let readers: Vec<_> =
            (0..2).map(|seed| tokio::spawn(consume(store.clone(), tenant, stop.clone(), 60 + seed))).collect();
        writers.join_all().await;
        assign_positions(&store).await.expect("numbers");
        stop.store(true, Ordering::SeqCst);
        for relay in relays {
            relay.await.expect("ends");
        }
        let found = history(&store, tenant).await;
        found.assert_whole();
        for reader in readers {
            let seen = reader.await.expect("ends");
            assert!(seen == found.events, "what one reader met, page by page, is all there is");
        }
        let positions: Vec<_> = found.events.iter().map(|event| event.position.expect("has one")).collect();
        assert!(positions.is_sorted_by(|left, right| left < right));
        let mut versions = BTreeMap::new();
        for event in &found.events {
            let version = versions.insert(&event.subject, event.subject_version).unwrap_or(0) + 1;
            assert_eq!(event.subject_version, version, "the order of {}", event.subject);
        }
        assert!(versions[&shared.to_string()] > 50, "the shared one was hardly changed");
        if store.engine() == Engine::Postgres {
            let insertion: Vec<_> = found.events.iter().map(|event| event.seq).collect();
            assert!(!insertion.is_sorted(), "no transaction overtook another: this proved nothing");
        }
    }
}
