//! Many writers at once: SQLite's lane and its group commit, PostgreSQL's pool; one that fails does
//! not harm the others. Not for those that go away: see `going_away`.

use std::collections::BTreeSet;

use fixtures::eventually;
use kernel::{Id, TenantId};
use sea_orm::Set;
use sea_orm::sea_query::Expr;
use store::{Engine, Store};
use tokio::task::JoinSet;

use crate::database;
use crate::ground::{self, add, engines, fill_disk, history, insert, shelf};
use crate::shop::{self, shelf as shelves};

use shelves::{Column, Entity, Shelf};

type Added = kernel::Result<Id<Shelf>>;

/// Starts writers that queue behind one that holds the lane, in this order, and lets them go.
async fn queue(store: &Store, tenant: TenantId, names: impl IntoIterator<Item = String>) -> Vec<Added> {
    let mut ctx = shop::ctx(tenant);
    let first = store.write(&mut ctx).await.expect("opens");
    let mut tasks = Vec::new();
    for name in names {
        let of_task = store.clone();
        tasks.push(tokio::spawn(async move { add(&of_task, tenant, &name).await }));
        let waiting = tasks.len();
        if store.engine() == Engine::Sqlite {
            eventually("it queues", async || store.statistics().lane_waiting() == waiting).await;
        }
    }
    first.roll_back().await.expect("undoes");
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(task.await.expect("ends"));
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_queue_share_their_commits_and_all_are_kept() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let mut all = BTreeSet::new();
        // On a machine that is busy with other things each may outlast its batch: try again then.
        for round in 0..20 {
            let before = store.statistics().batches();
            let names = (0..64).map(|number| format!("shelf {round} {number}"));
            let added = queue(&store, tenant, names).await;
            all.extend(added.into_iter().map(|end| end.expect("acknowledged")));
            let batches = store.statistics().batches() - before;
            let found = history(&store, tenant).await;
            found.assert_whole();
            assert_eq!((all.len(), &all), (64 * (round + 1), &found.ids()));
            match store.engine() {
                Engine::Sqlite if batches > 40 && round < 19 => continue,
                Engine::Sqlite => assert!(batches <= 40, "{batches} commits for 64 writers"),
                Engine::Postgres => assert_eq!(batches, 0),
            }
            break;
        }
        assert_eq!(store.statistics().lane_waiting(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_fails_does_not_harm_those_beside_it() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let id = add(&store, tenant, "first").await.expect("adds");
        let mut tasks = JoinSet::new();
        for number in 0..48 {
            let store = store.clone();
            tasks.spawn(async move {
                if number % 3 != 0 {
                    return add(&store, tenant, &format!("good {number}")).await.map(|_| ());
                }
                let mut ctx = shop::ctx(tenant);
                let mut writer = store.write(&mut ctx).await.expect("opens");
                insert(&mut writer, "bad").await;
                let end = match number % 4 {
                    // A rule is broken; a statement that makes no sense; a changed mind; a panic.
                    0 => writer
                        .insert::<Entity>(shelves::ActiveModel { inside_id: Set(Some(Id::new())), ..shelf("bad") })
                        .await
                        .map(|_| ()),
                    1 => writer
                        .change::<Entity>(id)
                        .set_expr(Column::Name, Expr::cust("no_such_function()"))
                        .run("noted")
                        .await
                        .map(|_| ()),
                    2 => return writer.roll_back().await,
                    _ => std::panic::resume_unwind(Box::new("a handler that panics")),
                };
                let error = end.expect_err("fails");
                assert!(matches!(error.code(), "store.constraint" | "server.fault"), "{error}");
                Ok(())
            });
        }
        let mut panics = 0;
        while let Some(end) = tasks.join_next().await {
            match end {
                Ok(end) => end.expect("not harmed"),
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, 4);
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.shelves.len(), 1 + 32);
        assert!(!found.names().contains("bad"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_the_engine_gives_up_is_acknowledged_to_nobody() {
    let database = database::sqlite();
    let store = ground::open(&database).await;
    let tenant = shop::tenant(&store, "one").await;
    let mut shared = 0;
    for round in 0..200 {
        fill_disk(&store).await;
        let (small, large) = (format!("small {round}"), "large ".repeat(100_000));
        let ends = queue(&store, tenant, [small.clone(), large.clone()]).await;
        let error = ends[1].as_ref().expect_err("there is no room");
        assert_eq!((error.status(), error.code()), (503, "store.disk_full"), "{error}");
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert!(!found.names().contains(large.as_str()));
        assert_eq!(found.names().contains(small.as_str()), ends[0].is_ok(), "{:?}", ends[0]);
        if let Err(error) = &ends[0] {
            assert_eq!(error.code(), "store.disk_full", "the same answer for everyone: {error}");
            shared += 1;
        }
        if shared == 3 {
            break;
        }
    }
    assert!(shared > 0, "the two never met in one batch");
    add(&store, tenant, "next").await.expect("goes on");
}
