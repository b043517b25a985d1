//! What a Writer does to every change: stamps, versions, events, tenants.

use kernel::{Answer, Id, UserId};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Set};

use crate::ground::{self, add, engines, history, person, renamed, shelf};
use crate::shop::{self, shelf as shelves};

use shelves::{Column, Entity, Shelf};

#[tokio::test]
async fn every_change_stamps_the_row_and_appends_its_event() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let tenant = shop::tenant(&store, "one").await;
        let (anna, ben) = (UserId::new(), UserId::new());
        let mut requests = Vec::new();
        let id = {
            let mut ctx = person(tenant, anna, None);
            requests.push((ctx.request_id().clone(), ctx.correlation_id().clone()));
            let mut writer = store.write(&mut ctx).await.expect("opens");
            let row = writer.insert::<Entity>(shelf("first")).await.expect("inserts");
            assert_eq!((row.created_at, row.updated_at), (writer.now(), writer.now()));
            writer.commit(Answer::no_content()).await.expect("commits");
            assert_eq!((row.version, row.tenant_id, row.deleted_at), (1, tenant, None));
            assert_eq!((row.created_by, row.updated_by), (anna.to_string(), anna.to_string()));
            row.id
        };
        let mut rows = Vec::new();
        for verb in ["updated", "deleted", "restored"] {
            let mut ctx = person(tenant, ben, None);
            requests.push((ctx.request_id().clone(), ctx.correlation_id().clone()));
            let mut writer = store.write(&mut ctx).await.expect("opens");
            let now = writer.now();
            let row = match verb {
                "updated" => writer.update::<Entity>(id, None, renamed("second")).await,
                "deleted" => writer.delete::<Entity>(id, None).await,
                _ => writer.restore::<Entity>(id).await,
            };
            let row = row.expect(verb);
            writer.commit(Answer::no_content()).await.expect("commits");
            assert_eq!((row.updated_at, &row.updated_by), (now, &ben.to_string()), "{verb}");
            assert_eq!(row.created_by, anna.to_string());
            assert_eq!(row.deleted_at, (verb == "deleted").then_some(now), "{verb}");
            rows.push(row);
        }
        assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), [2, 3, 4]);
        let found = history(&store, tenant).await;
        found.assert_whole();
        assert_eq!(found.shelves, rows[2..]);
        let kinds = ["created", "updated", "deleted", "restored"].map(|verb| format!("shop.shelf.{verb}"));
        assert_eq!(found.events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>(), kinds);
        for (event, (request, correlation)) in found.events.iter().zip(&requests) {
            assert_eq!((event.subject.clone(), event.tenant_id), (id.to_string(), tenant));
            let actor = if event.subject_version == 1 { anna } else { ben };
            assert_eq!(event.actor, actor.to_string());
            assert_eq!(
                (event.request_id.as_str(), event.correlation_id.as_str()),
                (request.as_str(), correlation.as_str())
            );
            let name = if event.subject_version == 1 { "first" } else { "second" };
            assert_eq!(event.data, format!("{{\"name\":\"{name}\"}}"));
        }
        assert_eq!(found.events.last().map(|event| event.occurred_at), Some(rows[2].updated_at));
    }
}

#[tokio::test]
async fn columns_that_the_writer_owns_are_not_for_the_caller_to_set() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let (mine, other) = (shop::tenant(&store, "one").await, shop::tenant(&store, "two").await);
        let forged = || shelves::ActiveModel {
            tenant_id: Set(other),
            created_at: Set(kernel::Timestamp(1)),
            created_by: Set("forged".to_owned()),
            version: Set(70),
            updated_at: Set(kernel::Timestamp(1)),
            updated_by: Set("forged".to_owned()),
            deleted_at: Set(Some(kernel::Timestamp(1))),
            ..shelf("named")
        };
        let user = UserId::new();
        let mut ctx = person(mine, user, None);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        let now = writer.now();
        let first = writer.insert::<Entity>(forged()).await.expect("inserts");
        let moved = shelves::ActiveModel { id: Set(Id::new()), ..forged() };
        let second = writer.update::<Entity>(first.id, Some(1), moved).await.expect("updates");
        let changed = writer.change::<Entity>(first.id);
        let changed = changed.set(Column::TenantId, other).set(Column::Version, 70i64);
        let third = changed.set_expr(Column::DeletedAt, Expr::value(1i64)).run("renamed").await.expect("changes");
        writer.commit(Answer::no_content()).await.expect("commits");
        for (row, version) in [(&first, 1), (&second, 2), (&third, 3)] {
            assert_eq!((row.tenant_id, row.id, row.version), (mine, first.id, version));
            assert_eq!((row.created_at, row.updated_at, row.deleted_at), (now, now, None));
            assert_eq!((row.created_by.as_str(), row.updated_by.as_str()), (&*user.to_string(), &*user.to_string()));
        }
        let found = history(&store, mine).await;
        found.assert_whole();
        assert_eq!(found.shelves, [third]);
        assert!(history(&store, other).await.shelves.is_empty());
    }
}

#[tokio::test]
async fn what_another_tenant_has_is_not_found_and_stays_as_it_is() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let (mine, other) = (shop::tenant(&store, "one").await, shop::tenant(&store, "two").await);
        let live = add(&store, other, "live").await.expect("adds");
        let gone = add(&store, other, "gone").await.expect("adds");
        let mut ctx = shop::ctx(other);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        writer.delete::<Entity>(gone, None).await.expect("deletes");
        writer.commit(Answer::no_content()).await.expect("commits");
        let before = history(&store, other).await;

        let mut ctx = shop::ctx(mine);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        for id in [live, gone, Id::<Shelf>::new()] {
            for expected in [None, Some(1), Some(2)] {
                let error = writer.update::<Entity>(id, expected, renamed("x")).await.expect_err("not mine");
                assert_eq!((error.status(), error.code()), (404, "request.not_found"));
                assert_eq!(writer.delete::<Entity>(id, expected).await.expect_err("not mine").status(), 404);
            }
            assert_eq!(writer.restore::<Entity>(id).await.expect_err("not mine").status(), 404);
            let widened = writer.change::<Entity>(id).set(Column::Name, "x");
            let widened = widened.guard(Column::Name.eq("live").or(Expr::value(1).eq(1)));
            assert_eq!(widened.run_if("renamed").await.expect("runs"), None);
        }
        writer.commit(Answer::no_content()).await.expect("commits");
        assert_eq!(history(&store, other).await, before);
        let mine = history(&store, mine).await;
        assert!(mine.shelves.is_empty() && mine.events.is_empty(), "{mine:?}");
    }
}
