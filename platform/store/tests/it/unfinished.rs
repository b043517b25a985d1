//! Writers and readers that do not end as planned: dropped, abandoned, failed half-way, held too
//! long. Not for many of them at once: see `lane`.

use std::time::Duration;

use fixtures::eventually;
use kernel::{Answer, Id, TenantId, UserId};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Row as _};
use store::{Config, Engine, Store};

use crate::ground::{self, Sql, abandon_after, add, engines, history, insert, person, renamed, shelf};
use crate::shop::{self, item, shelf as shelves};

use shelves::{Entity, Shelf};

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing_and_the_next_one_goes_on() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        for round in 0..5 {
            let mut ctx = shop::ctx(tenant);
            let mut writer = store.write(&mut ctx).await.expect("opens");
            insert(&mut writer, "lost").await;
            if round % 2 == 0 {
                drop(writer)
            } else {
                writer.roll_back().await.expect("undoes")
            }
            add(&store, tenant, &format!("kept {round}")).await.expect("goes on");
        }
        eventually("all are counted", async || store.statistics().aborted() == 5).await;
        assert_eq!(store.statistics().committed(), 6, "the tenant and five shelves");
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.shelves.len(), 5);
        assert!(!found.names().contains("lost"));
    }
}

#[tokio::test]
async fn a_commit_that_has_begun_ends_although_its_client_went_away() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let key = |name: &str| kernel::Idempotency {
            key: name.to_owned(),
            scope: "POST /shelves".to_owned(),
            fingerprint: [1; 32],
        };
        for (name, key) in [("without a key", None), ("with a key", Some(key("k")))] {
            let mut ctx = person(tenant, UserId::new(), key);
            let mut writer = store.write(&mut ctx).await.expect("opens");
            insert(&mut writer, name).await;
            let end = abandon_after(1, writer.commit(Answer::no_content())).await;
            assert!(end.is_none(), "{name}: the commit was waited for");
            eventually(name, async || history(&store, tenant).await.names().contains(name)).await;
        }
        history(&store, tenant).await.assert_whole();
    }
}

#[tokio::test]
async fn a_failed_statement_cannot_be_committed_past() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let place = add(&store, tenant, "place").await.expect("adds");
        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        insert(&mut writer, "before").await;
        writer.insert::<item::Entity>(shop::thing(1, place)).await.expect("the first of its name");
        let error = writer.insert::<item::Entity>(shop::thing(1, place)).await.expect_err("taken");
        assert_eq!(error.status(), 409, "{error}");
        // PostgreSQL would answer COMMIT with a silent ROLLBACK: "done", and nothing there.
        let late = writer.insert::<Entity>(shelf("after")).await.expect_err("only rolling back is left");
        assert_eq!(late.code(), "server.fault", "{late}");
        writer.commit(Answer::no_content()).await.expect_err("must not be acknowledged");
        let found = history(&store, tenant).await;
        assert_eq!(found.names().into_iter().collect::<Vec<_>>(), ["place"]);
        add(&store, tenant, "next").await.expect("goes on");
    }
}

#[tokio::test]
async fn a_change_that_was_abandoned_half_way_cannot_be_committed() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let id = add(&store, tenant, "first").await.expect("adds");
        let mut abandoned = 0;
        for round in 0..400 {
            let mut ctx = shop::ctx(tenant);
            let mut writer = store.write(&mut ctx).await.expect("opens");
            // A handler with a timeout around one step, that commits whatever came of it.
            let polls = 1 + round % 4;
            let end = if round % 8 < 4 {
                let insert = writer.insert::<Entity>(shelf("half"));
                abandon_after(polls, insert).await.map(|end| end.is_ok())
            } else {
                let update = writer.update::<Entity>(id, None, renamed("half"));
                abandon_after(polls, update).await.map(|end| end.is_ok())
            };
            let committed = writer.commit(Answer::no_content()).await;
            assert_eq!(committed.is_ok(), end.is_some(), "after {polls} polls");
            abandoned += u32::from(end.is_none());
            if abandoned >= 12 && round >= 16 {
                break;
            }
        }
        history(&store, tenant).await.assert_whole();
        assert!(abandoned > 0, "nothing was abandoned");
    }
}

async fn rename(store: &Store, tenant: TenantId, id: Id<Shelf>) -> kernel::Result<Answer> {
    let mut ctx = shop::ctx(tenant);
    let mut writer = store.write(&mut ctx).await?;
    writer.update::<Entity>(id, Some(1), renamed("next")).await?;
    writer.commit(Answer::no_content()).await
}

#[tokio::test]
async fn a_writer_that_is_held_too_long_is_undone_and_the_next_one_goes_on() {
    for database in engines().await {
        let store = ground::open_with(&database, |config| config.write_hold_limit_ms = 150).await;
        let tenant = shop::tenant(&store, "one").await;
        let id = add(&store, tenant, "first").await.expect("adds");
        let mut ctx = shop::ctx(tenant);
        let mut held = store.write(&mut ctx).await.expect("opens");
        held.update::<Entity>(id, None, renamed("held")).await.expect("updates");
        // On SQLite the lane is in the way, on PostgreSQL the row's lock; there the next one's own
        // time may be up first.
        let mut next = Err(kernel::Error::internal("not yet"));
        for _ in 0..5 {
            next = rename(&store, tenant, id).await;
            if next.is_ok() {
                break;
            }
        }
        next.expect("as if the first had not been");
        for error in [
            held.insert::<Entity>(shelf("late")).await.map(|_| ()).expect_err("late"),
            held.select::<Entity>().all().await.map(|_| ()).expect_err("late"),
            held.commit(Answer::no_content()).await.map(|_| ()).expect_err("late"),
        ] {
            assert_eq!((error.status(), error.code()), (503, "store.transaction_timeout"));
            assert_eq!(error.retry_after_seconds(), Some(1));
        }
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.names().into_iter().collect::<Vec<_>>(), ["next"]);
        let aborted = store.statistics().aborted();
        assert!(aborted == 1 || store.engine() == Engine::Postgres, "{aborted}");
    }
}

async fn checkpoint_is_busy(config: &Config) -> bool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(config.sqlite_path().expect("a path"));
    let options = options.busy_timeout(Duration::ZERO);
    let mut connection = options.connect().await.expect("opens");
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await;
    let busy = row.map(|row| row.get::<i64, _>(0) == 1);
    connection.close().await.expect("closes");
    busy.unwrap_or(true)
}

async fn idle_in_transaction(store: &Store) -> bool {
    let system = store.system_read(store::Purpose::Health).await.expect("opens");
    // The purpose's role may not see what other sessions do.
    system.execute(&Sql("RESET ROLE")).await.expect("the login's own role");
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'";
    let rows = system.rows(&Sql(sql)).await.expect("reads");
    rows[0].try_get_by_index::<i64>(0).expect("a number") > 0
}

#[tokio::test]
async fn a_reader_that_grows_old_is_closed_and_pins_nothing() {
    for database in engines().await {
        let store = ground::open_with(&database, |config| config.read_age_limit_ms = 300).await;
        let tenant = shop::tenant(&store, "one").await;
        add(&store, tenant, "first").await.expect("adds");
        let ctx = shop::ctx(tenant);
        let reader = store.read(&ctx).await.expect("opens");
        assert_eq!(reader.select::<Entity>().all().await.expect("reads").len(), 1);
        add(&store, tenant, "second").await.expect("adds");
        assert_eq!(reader.select::<Entity>().all().await.expect("reads").len(), 1, "one snapshot");
        let pins = async || match store.engine() {
            Engine::Sqlite => checkpoint_is_busy(&database.config).await,
            Engine::Postgres => idle_in_transaction(&store).await,
        };
        assert!(pins().await, "a young reader keeps its snapshot");
        eventually("the old reader lets go", async || !pins().await).await;
        let error = reader.select::<Entity>().all().await.expect_err("closed");
        assert_eq!((error.status(), error.code()), (503, "store.transaction_timeout"));
        let reader = store.read(&ctx).await.expect("opens");
        assert_eq!(reader.select::<Entity>().all().await.expect("reads").len(), 2);
    }
}
