//! A change that is made only if the row is as the caller thinks: the expected version, the guard.
//! Not for what a change stamps: see `writer`.

use kernel::{Answer, Id, Kind};
use sea_orm::ColumnTrait;
use store::Writer;

use crate::ground::{self, add, engines, history, renamed};
use crate::shop::{self, shelf as shelves};

use shelves::{Column, Entity, Shelf};

#[tokio::test]
async fn another_version_is_refused_and_changes_nothing() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let id = add(&store, tenant, "first").await.expect("adds");
        let before = history(&store, tenant).await;
        for expected in [0, 2, i64::MAX] {
            let mut ctx = shop::ctx(tenant);
            let mut writer = store.write(&mut ctx).await.expect("opens");
            let error = writer.update::<Entity>(id, Some(expected), renamed("x")).await.expect_err("stale");
            assert_eq!((error.status(), error.code()), (412, "request.version_mismatch"));
            let error = writer.delete::<Entity>(id, Some(expected)).await.expect_err("stale");
            assert_eq!(error.status(), 412);
            writer.commit(Answer::no_content()).await.expect("a refusal is no failure");
        }
        assert_eq!(history(&store, tenant).await, before);
        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        assert_eq!(writer.update::<Entity>(id, Some(1), renamed("x")).await.expect("current").version, 2);
    }
}

#[tokio::test]
async fn of_two_writers_with_the_same_version_one_is_refused() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let id = add(&store, tenant, "first").await.expect("adds");
        let rename = |name: &'static str| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut ctx = shop::ctx(tenant);
                let mut writer = store.write(&mut ctx).await?;
                writer.update::<Entity>(id, Some(1), renamed(name)).await?;
                writer.commit(Answer::no_content()).await
            })
        };
        let (left, right) = (rename("left"), rename("right"));
        let ends = [left.await.expect("ends"), right.await.expect("ends")];
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
        let refused = ends.into_iter().find_map(Result::err).expect("one is refused");
        assert_eq!(refused.kind(), Kind::Precondition, "{refused}");
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.shelves[0].version, 2);
    }
}

#[tokio::test]
async fn a_guard_that_does_not_hold_changes_nothing_and_says_so() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let id = add(&store, tenant, "first").await.expect("adds");
        let before = history(&store, tenant).await;
        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        fn rename<'w>(writer: &'w mut Writer<'_>, id: Id<Shelf>, from: &str) -> store::Change<'w, Entity> {
            writer.change::<Entity>(id).set(Column::Name, "second").guard(Column::Name.eq(from))
        }
        assert_eq!(rename(&mut writer, id, "other").run_if("renamed").await.expect("runs"), None);
        let error = rename(&mut writer, id, "other").run("renamed").await.expect_err("guarded");
        assert_eq!((error.status(), error.code()), (409, "request.refused_by_state"));
        // The version is right: it is the guard that refuses, so reading again would not help.
        let error = rename(&mut writer, id, "other").expect_version(Some(1)).run("renamed").await;
        assert_eq!(error.expect_err("guarded").code(), "request.refused_by_state");
        let error = rename(&mut writer, id, "first").expect_version(Some(9)).run("renamed").await;
        assert_eq!(error.expect_err("stale").status(), 412);
        writer.commit(Answer::no_content()).await.expect("commits");
        assert_eq!(history(&store, tenant).await, before);

        let mut ctx = shop::ctx(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        let told = rename(&mut writer, id, "first").event_data(|row| serde_json::json!({ "now": row.name }));
        assert_eq!(told.run_if("renamed").await.expect("runs").expect("holds").version, 2);
        writer.commit(Answer::no_content()).await.expect("commits");
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(
            (found.events[1].kind.as_str(), found.events[1].data.as_str()),
            ("shop.shelf.renamed", r#"{"now":"second"}"#)
        );
    }
}
