//! Each event is applied once, whoever races and wherever it breaks off.

use std::collections::BTreeMap;

use fixtures::eventually;
use kernel::TenantId;
use store::fault::{self, FaultAction};
use store::{Engine, Store};
use tokio::task::JoinSet;

use crate::ground::{CHANGED, Ground, Notebook, grounds, record, settle, tally};

/// Asserts that all events of the tenant were applied, each once, and each thing's in order.
async fn assert_once(ground: &Ground, tenant: TenantId, name: &str) {
    let events: Vec<_> = ground.events(tenant, CHANGED).await.into_iter().map(|event| event.id).collect();
    let mut notes = ground.notes(tenant, name).await;
    assert_eq!(notes.iter().map(|note| note.event_id).collect::<Vec<_>>(), events);
    // Ids are in the order in which they were made.
    notes.sort_by_key(|note| note.id.uuid());
    let mut last = BTreeMap::new();
    for note in &notes {
        let before = last.insert(&note.subject, note.position).unwrap_or(0);
        assert!(before < note.position, "the order of {}", note.subject);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_dispatchers_and_writers() {
    for ground in grounds().await {
        let tenants = [ground.tenant("one").await, ground.tenant("two").await, ground.tenant("three").await];
        let notebook = Notebook::new("race.notes");
        // Other processes have stores of their own; one SQLite file has one process.
        let mut stores = vec![ground.store.clone(); 3];
        if ground.store.engine() == Engine::Postgres {
            for store in &mut stores {
                let config = store::Config { connections: 8, ..ground.database.config.clone() };
                *store = Store::open(config, ground.clock.clone()).await.expect("opens");
            }
        }
        let mut running = Vec::new();
        for store in &stores {
            running.push(events::Dispatcher::new(store.clone(), vec![notebook.subscription()]).start());
        }
        let mut writers = JoinSet::new();
        for writer in 0..16usize {
            let store = stores[writer % 3].clone();
            let tenant = tenants[writer % tenants.len()];
            writers.spawn(async move {
                for number in 0..12 {
                    // The shared one belongs to each tenant of its own.
                    record(&store, tenant, if number % 3 == 0 { "shared" } else { "own" }).await;
                    if number % 4 == 0 {
                        store::assign_positions(&store).await.expect("numbers");
                    }
                }
            });
        }
        // Those that care for no lease race with those that do.
        let mut racers = JoinSet::new();
        for store in &stores {
            let dispatcher = events::Dispatcher::new(store.clone(), vec![notebook.subscription()]);
            racers.spawn(async move {
                for _ in 0..10 {
                    settle(&dispatcher).await;
                }
            });
        }
        writers.join_all().await;
        store::assign_positions(&ground.store).await.expect("numbers");
        racers.join_all().await;
        eventually("all are applied", async || {
            let mut notes = 0;
            for tenant in tenants {
                notes += ground.notes(tenant, "race.notes").await.len();
            }
            notes >= 16 * 12
        })
        .await;
        for dispatcher in running {
            dispatcher.stop().await;
        }
        for tenant in tenants {
            assert_once(&ground, tenant, "race.notes").await;
        }
        for store in stores {
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_failure_at_every_fault_point() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("faults.notes");
        let mut recorded = 0;
        for place in ["consume.before_commit", "consume.after_commit", "consume.before_mark"] {
            let here = format!("{place}@faults.notes");
            fault::arm(&here, 0, FaultAction::Error);
            ground.record(tenant, &["a", "b", "a"]).await;
            recorded += 3;
            settle(&notebook.dispatcher(&ground)).await;
            assert!(!fault::is_armed(&here), "{place} was never passed");
            assert_eq!(ground.notes(tenant, "faults.notes").await.len(), recorded, "{place}");
            assert_once(&ground, tenant, "faults.notes").await;
        }
        let standing = events::list(&ground.store, &[notebook.subscription()]).await.expect("lists");
        assert_eq!((standing[0].lag, standing[0].streams.len()), (0, 0));
    }
}

#[tokio::test]
async fn one_that_starts_with_now_leaves_out_what_was_before() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let (all, new) = (Notebook::new("now.all"), Notebook::new("now.new"));
        ground.record(tenant, &["old"]).await;
        let subscriptions = vec![all.subscription(), new.subscription().from_now()];
        let dispatcher = events::Dispatcher::new(ground.store.clone(), subscriptions);
        assert_eq!(settle(&dispatcher).await, 1);
        ground.record(tenant, &["later"]).await;
        assert_eq!(settle(&dispatcher).await, 2);
        assert_eq!(ground.heard(tenant, "now.all").await, tally(&[("later", 1), ("old", 1)]));
        assert_eq!(ground.heard(tenant, "now.new").await, tally(&[("later", 1)]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_hears_of_commits_and_stops_in_order() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("live.notes");
        let dispatcher = notebook.dispatcher(&ground);
        let running = dispatcher.clone().start();
        for round in 1..=3 {
            ground.record(tenant, &["a"]).await;
            eventually("it is applied", async || ground.notes(tenant, "live.notes").await.len() == round).await;
        }
        eventually("it is counted", async || {
            let statistics = dispatcher.statistics();
            (statistics[0].applied, statistics[0].lag) == (3, 0)
        })
        .await;
        running.stop().await;
        let standing = events::list(&ground.store, &[notebook.subscription()]).await.expect("lists");
        assert_eq!((standing[0].position, standing[0].lag), (3, 0), "how far it came is noted when it stops");
        ground.record(tenant, &["a"]).await;
        assert_eq!(ground.notes(tenant, "live.notes").await.len(), 3, "nothing runs any more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_died_with_its_lease_is_replaced() {
    for ground in grounds().await {
        if ground.store.engine() == Engine::Sqlite {
            continue;
        }
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("lease.notes");
        settle(&notebook.dispatcher(&ground)).await;
        let until = ground.clock.now().plus(std::time::Duration::from_secs(30)).0;
        ground.database.run(&format!("UPDATE subscription SET lease_holder = 'dead', lease_until = {until}")).await;
        let running = notebook.dispatcher(&ground).start();
        ground.record(tenant, &["a"]).await;
        eventually("another helps", async || ground.notes(tenant, "lease.notes").await.len() == 1).await;
        running.stop().await;
    }
}
