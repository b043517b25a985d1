//! The two walls between tenants, each of them alone. Not for what PostgreSQL's roles may do: see
//! `roles`.

use kernel::{Answer, CtxParts, Id, Idempotency, RequestId, TenantId};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::{Condition, Expr, ExprTrait as _};
use store::{Event, Store, Walls};

use crate::database::{self, Database};
use crate::ground::{self, add, engines, every_event, history, renamed};
use crate::shop::{self, shelf as shelves};

use shelves::{Column, Entity, Shelf};

mod label {
    use kernel::{Id, IdKind, TenantId, Timestamp};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shop_label")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<Label>,
        pub text: String,
        pub created_at: Timestamp,
        pub created_by: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    #[derive(Debug)]
    pub struct Label;
    impl IdKind for Label {
        const PREFIX: &'static str = "lbl";
    }
    store::tenant_row!(Entity, Label);
}

pub async fn two_tenants(store: &Store) -> (TenantId, TenantId) {
    (shop::tenant(store, "mine").await, shop::tenant(store, "theirs").await)
}

#[tokio::test]
async fn a_condition_given_later_narrows_the_scope_and_cannot_widen_it() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let (mine, theirs) = two_tenants(&store).await;
        add(&store, mine, "mine").await.expect("adds");
        let other = add(&store, theirs, "theirs").await.expect("adds");
        let ctx = shop::ctx(mine);
        let reader = store.read(&ctx).await.expect("opens");
        let everything = || Condition::any().add(Expr::value(1).eq(1)).add(Column::TenantId.eq(theirs));
        let conditions = [
            everything(),
            Condition::any().add(Column::Name.eq("mine")).add(Column::Name.eq("theirs")),
            everything().not().not(),
            Condition::all().add(everything()).add(everything()),
        ];
        for condition in conditions {
            let query = || reader.select::<Entity>().filter(condition.clone());
            let sql = query().sql(store.engine());
            let (_, place) = sql.split_once(" WHERE ").expect("a condition");
            assert!(place.starts_with(r#""shop_shelf"."tenant_id" = "#), "{sql}");
            let mut depth = 0i32;
            for (at, letter) in place.char_indices() {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                assert!(depth > 0 || !place[at..].starts_with(" OR "), "an OR beside the scope: {sql}");
            }
            let names: Vec<_> = query().all().await.expect("reads").into_iter().map(|row| row.name).collect();
            assert_eq!(names, ["mine"], "{sql}");
            let also_deleted = reader.select_with_deleted::<Entity>().filter(condition.clone());
            assert_eq!(also_deleted.all().await.expect("reads").len(), 1);
            assert_eq!(query().id(other).one().await.expect("reads"), None);
        }
    }
}

/// One tenant does everything it can to reach another's rows, and says whether it saw any.
async fn trespass(store: &Store, mine: TenantId, theirs: TenantId, their_row: Id<Shelf>) -> bool {
    let ctx = shop::ctx(mine);
    let reader = store.read(&ctx).await.expect("opens");
    let rows = reader.select_with_deleted::<Entity>().all().await.expect("reads");
    let named = reader.select::<Entity>().filter(Column::TenantId.eq(theirs)).all().await.expect("reads");
    let one = reader.select::<Entity>().id(their_row).one().await.expect("reads");
    let events = reader.events_after(0, &every_event(), 100).await.expect("reads");
    reader.close().await.expect("closes");
    let mut seen = rows.iter().chain(&named).any(|row| row.tenant_id != mine) || one.is_some();
    seen |= events.iter().any(|event| event.tenant_id != mine);

    let mut ctx = shop::ctx(mine);
    let mut writer = store.write(&mut ctx).await.expect("opens");
    let changes = [
        writer.update::<Entity>(their_row, None, renamed("stolen")).await,
        writer.update::<Entity>(their_row, Some(1), renamed("stolen")).await,
        writer.restore::<Entity>(their_row).await,
        writer.change::<Entity>(their_row).set(Column::Name, "stolen").run("renamed").await,
        writer.delete::<Entity>(their_row, None).await,
    ];
    seen |= changes.iter().any(|change| change.as_ref().is_ok_and(|row| row.tenant_id != mine));
    let own = label::ActiveModel { text: sea_orm::Set("mine".to_owned()), ..Default::default() };
    assert_eq!(writer.append::<label::Entity>(own).await.expect("appends").tenant_id, mine);
    writer.record(Event::about("shop.shelf.noted", their_row, serde_json::json!({}))).await.expect("records");
    writer.commit(Answer::no_content()).await.expect("commits");
    seen
}

fn keyed(tenant: TenantId) -> kernel::Ctx {
    kernel::Ctx::new(CtxParts {
        tenant,
        actor: kernel::Actor::System,
        permissions: kernel::PermissionSet::default(),
        request_id: RequestId::create(),
        correlation_id: RequestId::create(),
        reason: None,
        idempotency: Some(Idempotency { key: "key".to_owned(), scope: "POST /".to_owned(), fingerprint: [1; 32] }),
    })
}

async fn with_walls(database: &Database, walls: Walls) -> bool {
    println!("{walls:?}");
    let store = ground::open_with(database, |config| config.walls = walls).await;
    let (mine, theirs) = two_tenants(&store).await;
    let row = add(&store, theirs, "theirs").await.expect("adds");
    add(&store, mine, "mine").await.expect("adds");
    let mut ctx = keyed(theirs);
    let writer = store.write(&mut ctx).await.expect("opens");
    writer.commit(Answer::no_content()).await.expect("commits");
    let whole = ground::open(database).await;
    let before = history(&whole, theirs).await;
    let seen = trespass(&store, mine, theirs, row).await;
    let after = history(&whole, theirs).await;
    before.assert_whole();
    // The same key of another tenant is another key.
    let mut ctx = keyed(mine);
    assert!(store.write(&mut ctx).await.is_ok());
    seen || before != after
}

#[tokio::test]
async fn each_wall_alone_keeps_the_tenants_apart() {
    for database in engines().await {
        let walls = Walls { filter: true, row_security: false };
        assert!(!with_walls(&database, walls).await, "past the filter");
    }
    let Some(database) = database::postgres().await else {
        return;
    };
    let walls = Walls { filter: false, row_security: true };
    assert!(!with_walls(&database, walls).await, "past row-level security");
    // Without either the test must notice, or it would prove nothing.
    let Some(database) = database::postgres().await else {
        return;
    };
    let walls = Walls { filter: false, row_security: false };
    assert!(with_walls(&database, walls).await, "the trespasser sees nothing even without walls");
}
