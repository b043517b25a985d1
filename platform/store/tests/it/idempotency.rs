//! Idempotency keys: one effect per key, the same answer for every repeat, and never an answer
//! that is not on disk. Not for how a key is read from a request.

use std::collections::BTreeSet;

use fixtures::eventually;
use kernel::{Actor, Answer, Ctx, CtxParts, Error, Idempotency, PermissionSet, RequestId, TenantId, UserId};
use store::Store;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::database;
use crate::ground::{self, engines, fill_disk, history, insert, shelf};
use crate::shop::{self, shelf::Entity};

const SCOPE: &str = "POST /shelves";

fn keyed(tenant: TenantId, actor: Actor, scope: &str, key: &str, fingerprint: u8) -> Ctx {
    Ctx::new(CtxParts {
        tenant,
        actor,
        permissions: PermissionSet::default(),
        request_id: RequestId::create(),
        correlation_id: RequestId::create(),
        reason: None,
        idempotency: Some(Idempotency { key: key.to_owned(), scope: scope.to_owned(), fingerprint: [fingerprint; 32] }),
    })
}

fn ctx(tenant: TenantId, key: &str) -> Ctx {
    keyed(tenant, Actor::System, SCOPE, key, 1)
}

/// Adds a shelf as a handler does, and renders a replay as the boundary does.
async fn request(store: &Store, mut ctx: Ctx) -> Result<Answer, Error> {
    let mut act = async || {
        let mut writer = store.write(&mut ctx).await?;
        let row = writer.insert::<Entity>(shelf("made")).await?;
        let answer = Answer::created(format!("/shelves/{}", row.id), &row.id.to_string())?;
        writer.commit(answer.version(row.version)).await
    };
    match act().await {
        Ok(answer) => Ok(answer),
        Err(error) => error.into_replay(),
    }
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_was_and_acts_no_second_time() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let first = request(&store, ctx(tenant, "k")).await.expect("acts");
        assert!(!first.replayed && first.status == 201 && first.location.is_some());
        for _ in 0..3 {
            let again = request(&store, ctx(tenant, "k")).await.expect("is answered");
            assert_eq!(again, Answer { replayed: true, ..first.clone() });
        }
        let mut empty = ctx(tenant, "empty");
        let writer = store.write(&mut empty).await.expect("opens");
        writer.commit(Answer::no_content()).await.expect("commits");
        let again = request(&store, ctx(tenant, "empty")).await.expect("is answered");
        assert_eq!(again, Answer { replayed: true, ..Answer::no_content() });
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.shelves.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_at_once_one_acts_and_fifteen_are_answered() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        for round in 0..5 {
            let mut tasks = JoinSet::new();
            for _ in 0..16 {
                let (store, ctx) = (store.clone(), ctx(tenant, &format!("k{round}")));
                tasks.spawn(async move { request(&store, ctx).await.expect("is answered") });
            }
            let answers = tasks.join_all().await;
            assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
            let bodies: BTreeSet<_> = answers.iter().map(|answer| answer.body.as_str()).collect();
            assert_eq!(bodies.len(), 1, "{bodies:?}");
        }
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.shelves.len(), 5);
    }
}

#[tokio::test]
async fn the_key_of_another_request_is_refused_and_of_another_caller_is_another_key() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let (tenant, other) = (shop::tenant(&store, "one").await, shop::tenant(&store, "two").await);
        let anna = Actor::User(UserId::new());
        request(&store, ctx(tenant, "k")).await.expect("acts");
        let error = request(&store, keyed(tenant, Actor::System, SCOPE, "k", 2)).await.expect_err("reused");
        assert_eq!((error.status(), error.code()), (422, "request.idempotency_key_reused"));
        for ctx in [
            keyed(other, Actor::System, SCOPE, "k", 2),
            keyed(tenant, anna.clone(), SCOPE, "k", 2),
            keyed(tenant, Actor::System, "PATCH /shelves", "k", 2),
            keyed(tenant, Actor::System, SCOPE, "K", 2),
        ] {
            assert!(!request(&store, ctx).await.expect("acts").replayed);
        }
        assert_eq!(history(&store, tenant).await.shelves.len(), 4);
        assert_eq!(history(&store, other).await.shelves.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_leaves_no_key() {
    for database in engines().await {
        let store = ground::open_with(&database, |config| config.write_hold_limit_ms = 500).await;
        let tenant = shop::tenant(&store, "one").await;
        for end in 0..4 {
            let key = format!("k{end}");
            let mut first = ctx(tenant, &key);
            let mut writer = store.write(&mut first).await.expect("opens");
            insert(&mut writer, "undone").await;
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let (store, ctx) = (store.clone(), ctx(tenant, &key));
                    tokio::spawn(async move { request(&store, ctx).await })
                })
                .collect();
            match end {
                0 => drop(writer),
                1 => writer.roll_back().await.expect("undoes"),
                2 => {
                    writer.restore::<Entity>(kernel::Id::new()).await.expect_err("not found");
                    drop(writer);
                }
                _ => {
                    eventually("its time is up", async || writer.select::<Entity>().all().await.is_err()).await;
                    drop(writer);
                }
            }
            let mut acted = 0;
            for task in tasks {
                match task.await.expect("ends") {
                    Ok(answer) => acted += u32::from(!answer.replayed),
                    // Those that waited beside it for the key may be at the end of their time too.
                    Err(error) => assert_eq!((error.code(), end), ("store.transaction_timeout", 3)),
                }
            }
            let last = request(&store, ctx(tenant, &key)).await.expect("acts or is answered");
            assert_eq!(acted + u32::from(!last.replayed), 1, "end {end}");
        }
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!((found.shelves.len(), found.names().contains("undone")), (4, false));
    }
}

/// Lets a request, its repeat and a third writer meet in one batch; the third one holds the lane
/// while the first two must wait. Says what became of them, or nothing when they did not meet.
async fn meet(store: &Store, tenant: TenantId, round: u32, full: bool) -> Option<[Result<Answer, Error>; 2]> {
    let key = format!("k{round}{full}");
    let mut blocker = shop::ctx(tenant);
    let blocker = store.write(&mut blocker).await.expect("opens");
    let (mut queued, mut tasks) = (0, Vec::new());
    let mut wait = async || {
        queued += 1;
        eventually("it queues", async || store.statistics().lane_waiting() == queued).await;
    };
    for _ in 0..2 {
        let (of_task, ctx) = (store.clone(), ctx(tenant, &key));
        tasks.push(tokio::spawn(async move { request(&of_task, ctx).await }));
        wait().await;
    }
    let ((opened, open), (go, goes)) = (oneshot::channel(), oneshot::channel::<()>());
    let of_task = store.clone();
    let third = tokio::spawn(async move {
        let mut ctx = shop::ctx(tenant);
        let mut writer = of_task.write(&mut ctx).await.expect("opens");
        let _ = opened.send(());
        let _ = goes.await;
        let name = if full { "large ".repeat(100_000) } else { "third".to_owned() };
        writer.insert::<Entity>(shelf(&name)).await?;
        writer.commit(Answer::no_content()).await
    });
    wait().await;
    blocker.roll_back().await.expect("undoes");
    open.await.expect("opens");
    tokio::task::yield_now().await;
    let met = !tasks[0].is_finished();
    assert!(!met || !tasks[1].is_finished(), "a repeat was answered before the first was on disk");
    let _ = go.send(());
    let ended = third.await.expect("ends");
    assert_eq!(ended.is_err(), full, "{ended:?}");
    let [second, first] = [tasks.pop(), tasks.pop()].map(|task| task.expect("two"));
    let ends = [first.await.expect("ends"), second.await.expect("ends")];
    met.then_some(ends)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_in_the_same_batch_waits_until_the_first_is_on_disk() {
    let database = database::sqlite();
    let store = ground::open(&database).await;
    let tenant = shop::tenant(&store, "one").await;
    let (mut kept, mut refused) = (0, 0);
    for round in 0..100 {
        if let Some([first, second]) = meet(&store, tenant, round, false).await {
            let (first, second) = (first.expect("acts"), second.expect("is answered"));
            assert_eq!(second, Answer { replayed: true, ..first });
            kept += 1;
        }
        // Now the third finds the disk full, and the batch is given up.
        fill_disk(&store).await;
        if let Some(ends) = meet(&store, tenant, round, true).await {
            for end in ends {
                let error = end.expect_err("the batch was given up");
                assert_eq!(error.code(), "store.disk_full", "{error}");
            }
            let again = request(&store, ctx(tenant, &format!("k{round}true"))).await.expect("acts");
            assert!(!again.replayed, "an answer was stored that nobody was given");
            refused += 1;
        }
        if kept >= 3 && refused >= 3 {
            break;
        }
    }
    assert!(kept > 0 && refused > 0, "they never met in one batch: {kept}, {refused}");
    history(&store, tenant).await.assert_whole();
}
