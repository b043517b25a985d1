//! What a transaction on PostgreSQL costs in ways to the server and back, and that the ways it does not
//! go are not missed: a connection that died in the pool, hangs, or refused its opening. Not for what a
//! caller learns when the whole database is away: see `faults`.

use std::time::Duration;

use fixtures::eventually;
use kernel::{Answer, Clock, TenantId};
use store::{Config, Purpose, Store, migrate};
use tokio::task::JoinSet;

use crate::database::{self, Database};
use crate::ground::{self, Sql, add, history};
use crate::proxy::{Proxy, Wire};
use crate::shop::{self, SHOP, shelf};

/// Opens a store of a few connections over a wire.
async fn over_a_wire(change: impl FnOnce(&mut Config)) -> Option<(Database, Proxy, Store, TenantId)> {
    let database = database::postgres().await?;
    migrate(&database.config, SHOP, &Clock::system()).await.expect("migrates");
    let proxy = Proxy::start(&database.config).await;
    let mut config = proxy.over(&database.config);
    change(&mut config);
    let store = Store::open(config, Clock::system()).await.expect("opens");
    let tenant = shop::tenant(&store, "one").await;
    Some((database, proxy, store, tenant))
}

async fn read_one(store: &Store, tenant: TenantId) -> kernel::Result<()> {
    let ctx = shop::ctx(tenant);
    let reader = store.read(&ctx).await?;
    reader.select::<shelf::Entity>().limit(1).one().await?.expect("is there");
    reader.close().await
}

/// Returns what one run costs. Whoever holds both connections knows that nothing else is under way.
async fn cost(proxy: &Proxy, store: &Store, run: impl AsyncFn() -> kernel::Result<()>) -> usize {
    const RUNS: usize = 10;
    let hold = async || {
        let both = [store.system_read(Purpose::Health).await, store.system_read(Purpose::Health).await];
        both.map(|system| system.expect("opens"))
    };
    let mut least = usize::MAX;
    // The first rounds prepare statements, and a machine that stalls makes the pool ask whether a
    // connection is still there: the cheapest round is what it costs.
    for _ in 0..5 {
        let held = hold().await;
        let before = proxy.round_trips();
        drop(held);
        for _ in 0..RUNS {
            run().await.expect("runs");
        }
        let _held = hold().await;
        // Two roll-backs at the start of the round, two beginnings at its end.
        least = least.min(proxy.round_trips() - before - 4);
    }
    least.div_ceil(RUNS)
}

#[tokio::test]
async fn a_transaction_costs_few_round_trips() {
    let opened = over_a_wire(|config| config.connections = 2).await;
    let Some((_database, proxy, store, tenant)) = opened else {
        return;
    };
    let place = add(&store, tenant, "place").await.expect("adds");
    let read = cost(&proxy, &store, async || read_one(&store, tenant).await).await;
    assert_eq!(read, 3, "begin, select, roll back");
    let dropped = cost(&proxy, &store, async || {
        let ctx = shop::ctx(tenant);
        store.read(&ctx).await?.select::<shelf::Entity>().id(place).one().await.map(|_| ())
    });
    assert_eq!(dropped.await, 3, "begin, select, roll back");
    let system_read = cost(&proxy, &store, async || {
        let system = store.system_read(Purpose::Health).await?;
        system.rows(&Sql("SELECT 1")).await?;
        system.close().await
    });
    assert_eq!(system_read.await, 3, "begin, select, roll back");
    let write = cost(&proxy, &store, async || add(&store, tenant, "more").await.map(|_| ())).await;
    assert_eq!(write, 5, "begin, row, event, commit; the pool's check, for which nobody waits");
    let given_up = cost(&proxy, &store, async || {
        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await?;
        ground::insert(&mut writer, "lost").await;
        Ok(())
    });
    assert_eq!(given_up.await, 4, "begin, row, event, roll back");
    let system = cost(&proxy, &store, async || {
        let system = store.system(Purpose::Health).await?;
        system.rows(&Sql("SELECT 1")).await?;
        system.commit().await
    });
    assert_eq!(system.await, 4, "begin, select, commit, the pool's check");
    assert!(!history(&store, tenant).await.names().contains("lost"));
}

#[tokio::test]
async fn readers_in_a_row_never_find_the_pool_empty() {
    let opened = over_a_wire(|config| config.connections = 2).await;
    let Some((_database, _proxy, store, tenant)) = opened else {
        return;
    };
    add(&store, tenant, "place").await.expect("adds");
    for _ in 0..300 {
        read_one(&store, tenant).await.expect("there is a connection");
    }
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..40 {
                read_one(&store, tenant).await.expect("waits for a connection, not for ever");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(store.statistics().connections_in_use(), 0);
}

/// Ends all connections that the pool holds, as a cut wire or as a server that shuts down, and lets new
/// ones through at once.
async fn end_idle(database: &Database, proxy: &mut Proxy, store: &Store, tenant: TenantId, cut: bool) {
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(store.system_read(Purpose::Health).await.expect("opens"));
    }
    drop(held);
    // Meanwhile they come back: what dies must lie in the pool.
    for _ in 0..8 {
        read_one(store, tenant).await.expect("reads");
    }
    if cut {
        proxy.set(Wire::Broken).await;
    } else {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
            AND pid <> pg_backend_pid() AND application_name = 'portico'";
        database.run(end).await;
    }
    eventually("all have ended", async || proxy.open() == 0).await;
    proxy.set(Wire::Whole).await;
}

#[tokio::test]
async fn connections_that_died_in_the_pool_trouble_nobody() {
    let opened = over_a_wire(|config| config.connections = 4).await;
    let Some((database, mut proxy, store, tenant)) = opened else {
        return;
    };
    add(&store, tenant, "place").await.expect("adds");
    // The last is longer than a connection is trusted unasked.
    for (cut, idle_ms) in [(true, 0), (false, 0), (true, 1_100)] {
        let idle = Duration::from_millis(idle_ms);
        end_idle(&database, &mut proxy, &store, tenant, cut).await;
        tokio::time::sleep(idle).await;
        read_one(&store, tenant).await.expect("reads");
        end_idle(&database, &mut proxy, &store, tenant, cut).await;
        add(&store, tenant, "more").await.expect("writes");
        end_idle(&database, &mut proxy, &store, tenant, cut).await;
        store.system(Purpose::Health).await.expect("opens").close().await.expect("closes");
        end_idle(&database, &mut proxy, &store, tenant, cut).await;
        store.ping().await.expect("is there");
    }
    let found = history(&store, tenant).await;
    found.assert_whole();
    assert_eq!(found.shelves.len(), 4, "each once");
}

#[tokio::test]
async fn a_connection_that_hangs_is_given_up_in_time() {
    let change = |config: &mut Config| (config.connections, config.acquire_timeout_ms) = (2, 300);
    let Some((_database, mut proxy, store, tenant)) = over_a_wire(change).await else {
        return;
    };
    add(&store, tenant, "place").await.expect("adds");
    proxy.set(Wire::Silent).await;
    for _ in 0..3 {
        let tried = tokio::time::timeout(Duration::from_secs(20), read_one(&store, tenant)).await;
        let error = tried.expect("ends").expect_err("hangs");
        assert_eq!((error.status(), error.code()), (503, "store.unavailable"), "{error}");
    }
    proxy.set(Wire::Whole).await;
    eventually("it is back", async || read_one(&store, tenant).await.is_ok()).await;
}

#[tokio::test]
async fn a_refused_opening_leaves_no_connection_in_its_transaction() {
    let Some(database) = database::postgres().await else {
        return;
    };
    let owner = ground::open(&database).await;
    let tenant = shop::tenant(&owner, "one").await;
    add(&owner, tenant, "place").await.expect("adds");
    let login = format!("half_{}", tenant.uuid().simple());
    database.run(&format!("CREATE ROLE {login} LOGIN; GRANT portico_app TO {login}")).await;
    let config = Config { connections: 2, ..database.as_login(&login) };
    let store = Store::open(config, Clock::system()).await.expect("opens");
    for _ in 0..4 {
        store.system(Purpose::Health).await.map(|_| ()).expect_err("is no member");
        store.system_read(Purpose::Health).await.map(|_| ()).expect_err("is no member");
        read_one(&store, tenant).await.expect("a connection in order");
        let mut ctx = shop::ctx(tenant);
        let writer = store.write(&mut ctx).await.expect("opens");
        writer.commit(Answer::no_content()).await.expect("commits");
    }
    store.close().await;
    owner.close().await;
    database.run(&format!("DROP ROLE {login}")).await;
}
