//! A small service that only tests know: shelves in shelves, and things on them with a column of
//! every type. Not a model for real services.

use kernel::{
    Actor, Answer, Clock, Ctx, CtxParts, Id, IdKind, Idempotency, PermissionSet, RequestId, TenantId, Timestamp,
};
use sea_orm::Set;
use store::{Config, EventFilter, EventRow, Migrations, Purpose, Schema, Step, Store, Type, assign_positions, migrate};

pub const STEPS: &[Step] = &[Step { name: "0001_things", apply: tables }, Step { name: "0002_labels", apply: labels }];
pub const SHOP: &[Migrations] = &[Migrations { service: "shop", steps: STEPS }];
/// The same service a release ago.
pub const OLD_SHOP: &[Migrations] = &[Migrations { service: "shop", steps: &[STEPS[0]] }];

/// What its rows tell.
pub const EVENTS: [&str; 5] =
    ["shop.shelf.created", "shop.shelf.updated", "shop.item.created", "shop.item.updated", "shop.item.deleted"];

fn tables(schema: &mut Schema) {
    schema.tenant_table("shop_shelf", |table| {
        table.column("name", Type::Text);
        table.nullable("inside_id", Type::Uuid);
        table.references("inside_id", "shop_shelf");
    });
    // Its name sorts before that of the table that it refers to.
    schema.tenant_table("shop_item", |table| {
        table.column("shelf_id", Type::Uuid);
        table.column("name", Type::Text);
        table.nullable("note", Type::Text);
        table.column("quantity", Type::Integer);
        table.nullable("level", Type::Integer);
        table.column("fragile", Type::Boolean);
        table.nullable("checked", Type::Boolean);
        table.column("photo", Type::Bytes);
        table.nullable("icon", Type::Bytes);
        table.nullable("origin", Type::Uuid);
        table.references("shelf_id", "shop_shelf");
        table.check("shop_item_level", "level < 1000");
        table.unique_live("shop_item_name", &["name"]);
    });
}

fn labels(schema: &mut Schema) {
    schema.tenant_ledger("shop_label", |table| table.column("text", Type::Text));
}

pub mod shelf {
    use super::*;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shop_shelf")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<Shelf>,
        pub name: String,
        pub inside_id: Option<Id<Shelf>>,
        pub created_at: Timestamp,
        pub created_by: String,
        pub version: i64,
        pub updated_at: Timestamp,
        pub updated_by: String,
        pub deleted_at: Option<Timestamp>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    #[derive(Debug)]
    pub struct Shelf;
    impl IdKind for Shelf {
        const PREFIX: &'static str = "shf";
    }
    store::tenant_entity!(Entity, Shelf, "shop.shelf", |row: &Model| { serde_json::json!({ "name": row.name }) });
}

pub mod item {
    use super::*;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shop_item")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<Item>,
        pub shelf_id: Id<shelf::Shelf>,
        pub name: String,
        pub note: Option<String>,
        pub quantity: i64,
        pub level: Option<i64>,
        pub fragile: bool,
        pub checked: Option<bool>,
        pub photo: Vec<u8>,
        pub icon: Option<Vec<u8>>,
        pub origin: Option<Uuid>,
        pub created_at: Timestamp,
        pub created_by: String,
        pub version: i64,
        pub updated_at: Timestamp,
        pub updated_by: String,
        pub deleted_at: Option<Timestamp>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    #[derive(Debug)]
    pub struct Item;
    impl IdKind for Item {
        const PREFIX: &'static str = "thg";
    }
    store::tenant_entity!(Entity, Item, "shop.item", |row: &Model| {
        serde_json::json!({ "name": row.name, "quantity": row.quantity })
    });
}

/// Returns a context that acts for the tenant.
pub fn ctx(tenant: TenantId) -> Ctx {
    store::system_context(tenant, PermissionSet::default())
}

/// Creates a tenant.
pub async fn tenant(store: &Store, slug: &str) -> TenantId {
    let system = store.system(Purpose::Bootstrap).await.expect("opens");
    let tenant = system.create_tenant(slug, "Müller & Søn 株式会社").await.expect("creates");
    system.commit().await.expect("commits");
    tenant.id
}

/// Adds a shelf.
pub async fn add_shelf(store: &Store, tenant: TenantId, name: &str) -> Id<shelf::Shelf> {
    let mut ctx = ctx(tenant);
    let mut writer = store.write(&mut ctx).await.expect("opens");
    let row = shelf::ActiveModel { name: Set(name.to_owned()), inside_id: Set(None), ..Default::default() };
    let shelf = writer.insert::<shelf::Entity>(row).await.expect("inserts").id;
    writer.commit(Answer::no_content()).await.expect("commits");
    shelf
}

/// Puts a shelf inside another.
pub async fn put_inside(store: &Store, tenant: TenantId, shelf: Id<shelf::Shelf>, into: Id<shelf::Shelf>) {
    let mut ctx = ctx(tenant);
    let mut writer = store.write(&mut ctx).await.expect("opens");
    let row = shelf::ActiveModel { inside_id: Set(Some(into)), ..Default::default() };
    writer.update::<shelf::Entity>(shelf, None, row).await.expect("updates");
    writer.commit(Answer::no_content()).await.expect("commits");
}

/// Returns an item to insert; the number decides its values, among them the awkward ones.
pub fn thing(number: i64, shelf: Id<shelf::Shelf>) -> item::ActiveModel {
    let odd = number % 2 == 1;
    item::ActiveModel {
        shelf_id: Set(shelf),
        name: Set(format!("Ärger № {number} 🧯 'quoted' \"twice\"\n\ttab")),
        note: Set(odd.then(String::new)),
        quantity: Set([number, i64::MAX, i64::MIN, 0][(number % 4) as usize]),
        level: Set(odd.then_some(-number)),
        fragile: Set(odd),
        checked: Set([None, Some(true), Some(false)][(number % 3) as usize]),
        photo: Set((0..=u8::try_from(number % 256).unwrap_or(0)).rev().collect()),
        icon: Set(odd.then(Vec::new)),
        origin: Set(odd.then(|| shelf.uuid())),
        ..Default::default()
    }
}

/// Brings the schema up to date and opens the store.
pub async fn open(config: &Config) -> Store {
    migrate(config, SHOP, &Clock::system()).await.expect("migrates");
    Store::open(config.clone(), Clock::system()).await.expect("opens")
}

/// Fills a store with two tenants and returns them.
pub async fn fill(store: &Store, items: i64) -> [TenantId; 2] {
    let tenants = [tenant(store, "first").await, tenant(store, "second").await];
    for tenant in tenants {
        let outer = add_shelf(store, tenant, "outer").await;
        let inner = add_shelf(store, tenant, "inner").await;
        put_inside(store, tenant, outer, inner).await;
        let mut ctx = ctx_with_key(tenant);
        let mut writer = store.write(&mut ctx).await.expect("opens");
        for number in 0..items {
            let row = writer.insert::<item::Entity>(thing(number, inner)).await.expect("inserts");
            if number % 5 == 0 {
                writer.delete::<item::Entity>(row.id, None).await.expect("deletes");
            }
        }
        writer.commit(Answer::ok(&"done ✓").expect("an answer")).await.expect("commits");
    }
    assign_positions(store).await.expect("numbers");
    tenants
}

fn ctx_with_key(tenant: TenantId) -> Ctx {
    let request_id = RequestId::create();
    Ctx::new(CtxParts {
        tenant,
        actor: Actor::System,
        permissions: PermissionSet::default(),
        correlation_id: request_id.clone(),
        request_id,
        reason: None,
        idempotency: Some(Idempotency {
            key: "key".to_owned(),
            scope: "POST /things".to_owned(),
            fingerprint: [7; 32],
        }),
    })
}

/// All that a tenant has.
#[derive(Debug, PartialEq)]
pub struct Rows {
    pub shelves: Vec<shelf::Model>,
    pub items: Vec<item::Model>,
    pub events: Vec<EventRow>,
}

/// Reads all that a tenant has, deleted rows too.
pub async fn rows(store: &Store, tenant: TenantId) -> Rows {
    use sea_orm::Order::Asc;
    let ctx = ctx(tenant);
    let reader = store.read(&ctx).await.expect("opens");
    let shelves = reader.select_with_deleted::<shelf::Entity>().order_by(shelf::Column::Id, Asc);
    let items = reader.select_with_deleted::<item::Entity>().order_by(item::Column::Id, Asc);
    let mut events = reader.events_after(0, &all_events(), 1_000_000).await.expect("reads");
    // `seq` is the engine's own; positions are what is promised.
    events.iter_mut().for_each(|event| event.seq = 0);
    let shelves = shelves.all().await.expect("reads");
    Rows { shelves, items: items.all().await.expect("reads"), events }
}

fn all_events() -> EventFilter {
    EventFilter { kinds: EVENTS.to_vec(), ..EventFilter::default() }
}

/// Reads both tenants and closes the store, so that it can be copied or removed.
pub async fn all_rows(config: &Config, tenants: [TenantId; 2]) -> [Rows; 2] {
    let store = open(config).await;
    let both = [rows(&store, tenants[0]).await, rows(&store, tenants[1]).await];
    store.close().await;
    both
}

/// Every row has an event for each of its versions, and every event of a row has that row.
pub fn assert_rows_and_events_agree(rows: &Rows) {
    let versions = rows.items.iter().map(|row| (row.id.to_string(), row.version));
    let versions = versions.chain(rows.shelves.iter().map(|row| (row.id.to_string(), row.version)));
    let mut expected: Vec<(String, i64)> =
        versions.flat_map(|(id, last)| (1..=last).map(move |version| (id.clone(), version))).collect();
    let mut found: Vec<(String, i64)> =
        rows.events.iter().map(|event| (event.subject.clone(), event.subject_version)).collect();
    expected.sort();
    found.sort();
    assert!(!found.is_empty());
    assert_eq!(found, expected);
}

/// Asserts that the next event comes right after the last.
pub async fn assert_next_position(config: &Config, tenant: TenantId, next: i64) {
    let store = open(config).await;
    let name = format!("after {next}");
    add_shelf(&store, tenant, &name).await;
    assign_positions(&store).await.expect("numbers");
    let ctx = ctx(tenant);
    let reader = store.read(&ctx).await.expect("opens");
    let events = reader.events_after(next - 1, &all_events(), 10).await.expect("reads");
    assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), [Some(next)]);
    drop(reader);
    store.close().await;
}
