//! The database goes away, is busy, loses an answer; the clock jumps. Each gives its documented
//! answer, and the store recovers without a restart. Not for full and failing disks: see `disk`.

use fixtures::eventually;
use kernel::{Answer, Clock, Error, Idempotency, TenantId, Timestamp, UserId};
use store::{Engine, Purpose, Store, migrate};
use tokio::task::JoinSet;

use crate::database;
use crate::ground::{self, add, engines, history, person, renamed, shelf};
use crate::proxy::{Proxy, Wire};
use crate::shop::{self, SHOP, shelf::Entity};

fn assert_away(error: &Error) {
    assert_eq!((error.status(), error.code()), (503, "store.unavailable"), "{error}");
    assert!(error.retry_after_seconds().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_is_missed_and_welcome_back() {
    let Some(database) = database::postgres().await else {
        return;
    };
    migrate(&database.config, SHOP, &Clock::system()).await.expect("migrates");
    let mut proxy = Proxy::start(&database.config).await;
    let mut config = proxy.over(&database.config);
    (config.connections, config.acquire_timeout_ms) = (4, 300);
    let store = Store::open(config, Clock::system()).await.expect("opens");
    let tenant = shop::tenant(&store, "one").await;
    let mut kept = 0;
    for wire in [Wire::Broken, Wire::Gone, Wire::Broken] {
        add(&store, tenant, "before").await.expect("adds");
        kept += 1;
        let (mut ctx, reading) = (shop::ctx(tenant), shop::ctx(tenant));
        let mut writer = store.write(&mut ctx).await.expect("opens");
        ground::insert(&mut writer, "lost").await;
        let reader = store.read(&reading).await.expect("opens");
        proxy.set(wire).await;
        assert_away(&writer.insert::<Entity>(shelf("lost")).await.expect_err("away"));
        writer.commit(Answer::no_content()).await.expect_err("cannot be acknowledged");
        assert_away(&reader.select::<Entity>().all().await.expect_err("away"));
        let mut tasks = JoinSet::new();
        for number in 0..16 {
            let store = store.clone();
            tasks.spawn(async move {
                let ctx = shop::ctx(tenant);
                match number % 4 {
                    0 => store.read(&ctx).await.map(|_| ()),
                    1 => store.system(Purpose::Relay).await.map(|_| ()),
                    2 => store.ping().await,
                    _ => add(&store, tenant, "lost").await.map(|_| ()),
                }
            });
        }
        for end in tasks.join_all().await {
            assert_away(&end.expect_err("away"));
        }
        proxy.set(Wire::Whole).await;
        eventually("it is back", async || add(&store, tenant, "after").await.is_ok()).await;
        kept += 1;
    }
    store.ping().await.expect("is there");
    let found = history(&store, tenant).await;
    found.assert_whole();
    assert_eq!((found.shelves.len(), found.names().contains("lost")), (kept, false));
}

async fn keyed(store: &Store, tenant: TenantId, user: UserId, key: &str) -> Result<Answer, Error> {
    let key = Idempotency { key: key.to_owned(), scope: "POST /".to_owned(), fingerprint: [1; 32] };
    let mut ctx = person(tenant, user, Some(key));
    let mut act = async || {
        let mut writer = store.write(&mut ctx).await?;
        let row = writer.insert::<Entity>(shelf("once")).await?;
        writer.commit(Answer::ok(&row.id.to_string())?).await
    };
    match act().await {
        Err(error) => error.into_replay(),
        done => done,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_an_error_and_its_key_tells_what_became_of_it() {
    let Some(database) = database::postgres().await else {
        return;
    };
    migrate(&database.config, SHOP, &Clock::system()).await.expect("migrates");
    let mut proxy = Proxy::start(&database.config).await;
    let store = Store::open(proxy.over(&database.config), Clock::system()).await.expect("opens");
    let (tenant, user) = (shop::tenant(&store, "one").await, UserId::new());
    for (round, wire) in
        [Wire::LosesCommit, Wire::LosesAnswer, Wire::LosesCommit, Wire::LosesAnswer].into_iter().enumerate()
    {
        let key = format!("k{round}");
        proxy.set(wire).await;
        assert_away(&keyed(&store, tenant, user, &key).await.expect_err("nobody knows"));
        proxy.set(Wire::Whole).await;
        let happened = history(&store, tenant).await.shelves.len() == round + 1;
        assert_eq!(happened, wire == Wire::LosesAnswer);
        let again = keyed(&store, tenant, user, &key).await.expect("is answered");
        assert_eq!(again.replayed, happened);
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.shelves.len(), round + 1, "once, however often it is asked for");
    }
}

fn assert_busy(error: &Error, code: &str) {
    assert_eq!((error.status(), error.code(), error.retry_after_seconds()), (503, code, Some(1)), "{error}");
}

#[tokio::test]
async fn a_pool_that_is_lent_out_is_busy_and_not_away() {
    for database in engines().await {
        let store = ground::open_with(&database, |config| {
            (config.connections, config.acquire_timeout_ms) = (2, 200);
        });
        let store = store.await;
        let tenant = shop::tenant(&store, "one").await;
        let ctx = shop::ctx(tenant);
        let held = [store.read(&ctx).await.expect("opens"), store.read(&ctx).await.expect("opens")];
        assert_eq!(store.statistics().connections_in_use(), 2);
        let code = "store.pool_exhausted";
        assert_busy(&store.read(&ctx).await.map(|_| ()).expect_err("busy"), code);
        assert_busy(&store.system_read(Purpose::Health).await.map(|_| ()).expect_err("busy"), code);
        assert_busy(&store.ping().await.expect_err("busy"), code);
        let added = add(&store, tenant, "added").await;
        match store.engine() {
            Engine::Sqlite => drop(added.expect("the lane is a connection of its own")),
            Engine::Postgres => assert_busy(&added.expect_err("busy"), code),
        }
        drop(held);
        eventually("they come back", async || store.statistics().connections_in_use() == 0).await;
        assert_eq!(history(&store, tenant).await.shelves.len(), usize::from(store.engine() == Engine::Sqlite));
        add(&store, tenant, "next").await.expect("adds");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_is_held_is_busy_and_goes_on_afterwards() {
    let database = database::sqlite();
    let store = ground::open_with(&database, |config| config.write_hold_limit_ms = 60_000).await;
    let tenant = shop::tenant(&store, "one").await;
    let mut ctx = shop::ctx(tenant);
    let mut held = store.write(&mut ctx).await.expect("opens");
    ground::insert(&mut held, "held").await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move { add(&store, tenant, "late").await.map(|_| ()) });
    }
    // Those that wait learn of it while the lane is still held: reads, meanwhile, go on.
    for end in tasks.join_all().await {
        assert_busy(&end.expect_err("busy"), "store.write_lane_busy");
    }
    assert!(history(&store, tenant).await.shelves.is_empty());
    held.commit(Answer::no_content()).await.expect("commits");
    add(&store, tenant, "next").await.expect("adds");
    let found = history(&store, tenant).await;
    found.assert_whole();
    assert_eq!(found.names().into_iter().collect::<Vec<_>>(), ["held", "next"]);
    assert_eq!(store.statistics().lane_waiting(), 0);
}

const DAY_US: i64 = 86_400_000_000;

#[tokio::test]
async fn a_clock_that_jumps_changes_the_stamps_and_no_order() {
    for database in engines().await {
        migrate(&database.config, SHOP, &Clock::system()).await.expect("migrates");
        let clock = Clock::manual(Timestamp(1_800_000_000_000_000));
        let store = Store::open(database.config.clone(), clock.clone()).await.expect("opens");
        let tenant = shop::tenant(&store, "one").await;
        let first = add(&store, tenant, "first").await.expect("adds");
        let mut ids = vec![first];
        for shift in [DAY_US, -2 * DAY_US, 1, -1, 400 * DAY_US, -400 * DAY_US] {
            clock.shift(shift);
            let mut ctx = shop::ctx(tenant);
            let mut writer = store.write(&mut ctx).await.expect("opens");
            assert_eq!(writer.now(), clock.now());
            clock.shift(shift);
            let row = writer.insert::<Entity>(shelf("next")).await.expect("inserts");
            let changed = writer.update::<Entity>(first, None, renamed("again")).await.expect("updates");
            assert_eq!(row.created_at, changed.updated_at, "one moment per transaction");
            writer.commit(Answer::no_content()).await.expect("commits");
            ids.push(row.id);
        }
        assert!(ids.is_sorted_by(|left, right| left < right), "ids grow");
        let found = history(&store, tenant).await;
        found.assert_whole();
        let positions: Vec<_> = found.events.iter().map(|event| event.position.expect("has one")).collect();
        assert!(positions.is_sorted_by(|left, right| left < right), "positions grow");
        let subjects: Vec<_> =
            found.events.iter().filter(|event| event.kind.ends_with("created")).map(|event| &event.subject).collect();
        assert_eq!(subjects, ids.iter().map(ToString::to_string).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
}
