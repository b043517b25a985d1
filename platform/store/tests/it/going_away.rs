//! Clients, watchdogs, stores and runtimes that go away while many write: what was acknowledged is
//! there, nothing is there in part, and nobody is left waiting. Not for one writer alone: see
//! `unfinished`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixtures::eventually;
use kernel::{Answer, Error, Id, TenantId};
use store::{Purpose, Store};
use tokio::task::JoinSet;

use crate::ground::{self, Random, abandon_after, add, engines, history, insert, renamed, shelf};
use crate::shop::{self, shelf as shelves};

use shelves::{Entity, Shelf};

async fn work(store: &Store, tenant: TenantId, number: u64) -> kernel::Result<Id<Shelf>> {
    let mut ctx = shop::ctx(tenant);
    let mut writer = store.write(&mut ctx).await?;
    let id = writer.insert::<Entity>(shelf(&format!("shelf {number}"))).await?.id;
    if number.is_multiple_of(2) {
        writer.update::<Entity>(id, Some(1), renamed("again")).await?;
    }
    writer.commit(Answer::no_content()).await?;
    Ok(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_go_away_at_any_moment_leave_everything_in_order() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let random = Arc::new(Mutex::new(Random::seeded(2)));
        let mut tasks = JoinSet::new();
        for task in 0..10 {
            let (store, random) = (store.clone(), random.clone());
            tasks.spawn(async move {
                let (mut kept, mut gone) = (Vec::new(), 0);
                for round in 0..50 {
                    let polls = random.lock().expect("not poisoned").below(12);
                    let polls = if polls == 11 { u64::MAX } else { polls };
                    match abandon_after(polls, work(&store, tenant, task * 1_000 + round)).await {
                        Some(end) => kept.push(end.expect("nobody is in its way")),
                        None => gone += 1,
                    }
                }
                (kept, gone)
            });
        }
        let (mut kept, mut gone) = (Vec::new(), 0);
        while let Some(end) = tasks.join_next().await {
            let (of_task, gone_of_task) = end.expect("ends");
            kept.extend(of_task);
            gone += gone_of_task;
        }
        println!("{} acknowledged, {gone} went away", kept.len());
        assert!(kept.len() > 50 && gone > 50);
        eventually("what was left behind is cleared away", async || {
            store.statistics().lane_waiting() + store.statistics().connections_in_use() == 0
        })
        .await;
        add(&store, tenant, "the lane is free").await.expect("adds");
        let found = history(&store, tenant).await;
        found.assert_whole();
        let there = found.ids();
        assert!(kept.iter().all(|id| there.contains(id)), "an acknowledged row is missing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_meets_the_end_of_its_time_is_kept_or_undone_and_blocks_nobody() {
    for database in engines().await {
        let patient = ground::open(&database).await;
        let tenant = shop::tenant(&patient, "one").await;
        let store = ground::open_with(&database, |config| config.write_hold_limit_ms = 4).await;
        let mut random = Random::seeded(3);
        let (mut kept, mut late) = (BTreeSet::new(), 0);
        for _ in 0..40 {
            let mut tasks = JoinSet::new();
            for _ in 0..4 {
                let (store, held_us) = (store.clone(), 2_500 + random.below(2_500));
                tasks.spawn(async move {
                    let mut ctx = shop::ctx(tenant);
                    let mut writer = store.write(&mut ctx).await?;
                    let id = writer.insert::<Entity>(shelf("raced")).await?.id;
                    // The timers' granularity is a millisecond: spin to meet the watchdog.
                    let until = std::time::Instant::now() + Duration::from_micros(held_us);
                    while std::time::Instant::now() < until {
                        tokio::task::yield_now().await;
                    }
                    writer.commit(Answer::no_content()).await?;
                    Ok::<_, Error>(id)
                });
            }
            let all = tokio::time::timeout(Duration::from_secs(10), tasks.join_all()).await;
            for end in all.expect("nobody waits for a batch that is never committed") {
                match end {
                    Ok(id) => assert!(kept.insert(id)),
                    Err(error) if error.code() == "store.transaction_timeout" => late += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        println!("{} in time, {late} late", kept.len());
        let found = history(&patient, tenant).await;
        found.assert_whole();
        assert_eq!(found.ids(), kept, "what was refused is not there, what was acknowledged is");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_closes_under_load_keeps_what_it_acknowledged() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let mut tasks = JoinSet::new();
        for number in 0..32 {
            let store = store.clone();
            tasks.spawn(async move {
                let mut kept = BTreeSet::new();
                loop {
                    match work(&store, tenant, number).await {
                        Ok(id) => kept.insert(id),
                        Err(error) if error.status() == 503 => return kept,
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
        eventually("they write", async || store.statistics().committed() > 100).await;
        store.close().await;
        let kept: BTreeSet<_> = tasks.join_all().await.into_iter().flatten().collect();
        for purpose in Purpose::ALL {
            let error = store.system(purpose).await.map(|_| ()).expect_err("closed");
            assert_eq!(error.status(), 503, "{error}");
        }
        let store = ground::open(&database).await;
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert!(kept.len() > 50 && kept.is_subset(&found.ids()));
    }
}

#[test]
fn a_runtime_may_end_while_a_writer_is_open() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let first = runtime().expect("a runtime");
    let database = crate::database::sqlite();
    let tenant = first.block_on(async {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        add(&store, tenant, "kept").await.expect("adds");
        let (opened, open) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut ctx = shop::ctx(tenant);
            let mut writer = store.write(&mut ctx).await.expect("opens");
            insert(&mut writer, "lost").await;
            opened.send(()).expect("is waited for");
            std::future::pending::<()>().await;
            drop(writer);
        });
        open.await.expect("opens");
        tenant
    });
    drop(first);
    runtime().expect("a runtime").block_on(async {
        let store = ground::open(&database).await;
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.names().into_iter().collect::<Vec<_>>(), ["kept"]);
        add(&store, tenant, "next").await.expect("goes on");
    });
}
