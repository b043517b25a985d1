//! What these tests stand on: a small service that records events, a subscriber that writes down what
//! it was given and fails when told to, and stores on each engine. Not for assertions of one test.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use events::{Dispatcher, Kinds, Subscriber, Subscription};
use futures_util::future::BoxFuture;
use kernel::{Answer, Clock, Error, Id, IdKind, PermissionSet, TenantId, Timestamp};
use sea_orm::Order::Asc;
use sea_orm::Set;
use serde_json::json;
use store::{Event, EventRow, Migrations, Purpose, Schema, Step, Store, Type, Writer};

use crate::database::{self, Database};

pub const CHANGED: &str = "shop.thing.changed";
const SHOP: Migrations = Migrations { service: "shop", steps: &[Step { name: "0001_notes", apply: tables }] };

fn tables(schema: &mut Schema) {
    schema.tenant_ledger("shop_note", |table| {
        table.column("subscription", Type::Text);
        table.column("event_id", Type::Uuid);
        table.column("position", Type::Integer);
        table.column("subject", Type::Text);
    });
}

pub mod note {
    use super::*;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shop_note")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<Note>,
        pub subscription: String,
        pub event_id: Id<store::EventKind>,
        pub position: i64,
        pub subject: String,
        pub created_at: Timestamp,
        pub created_by: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    #[derive(Debug)]
    pub struct Note;
    impl IdKind for Note {
        const PREFIX: &'static str = "not";
    }
    store::tenant_row!(Entity, Note);
}

/// A database with a store over it, and a clock that stands.
pub struct Ground {
    pub store: Store,
    pub clock: Clock,
    pub database: Database,
}

/// Returns one of each engine there is.
pub async fn grounds() -> Vec<Ground> {
    let mut grounds = Vec::new();
    for database in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        let clock = Clock::manual(Timestamp::parse("2026-11-21T08:00:00Z").expect("a time"));
        println!("engine: {:?}", database.config.engine());
        store::migrate(&database.config, &[events::MIGRATIONS, SHOP], &clock).await.expect("migrates");
        let store = Store::open(database.config.clone(), clock.clone()).await.expect("opens");
        grounds.push(Ground { store, clock, database });
    }
    grounds
}

impl Ground {
    /// Creates a tenant.
    pub async fn tenant(&self, slug: &str) -> TenantId {
        let system = self.store.system(Purpose::Bootstrap).await.expect("opens");
        let tenant = system.create_tenant(slug, slug).await.expect("creates");
        system.commit().await.expect("commits");
        tenant.id
    }

    /// Records one event about each of these, in one transaction each, and has them numbered.
    pub async fn record(&self, tenant: TenantId, subjects: &[&str]) {
        for subject in subjects {
            record(&self.store, tenant, subject).await;
        }
        store::assign_positions(&self.store).await.expect("numbers");
    }

    /// Returns what a subscription has written down in a tenant, in the order of positions.
    pub async fn notes(&self, tenant: TenantId, subscription: &str) -> Vec<note::Model> {
        let ctx = store::system_context(tenant, PermissionSet::default());
        let reader = self.store.read(&ctx).await.expect("opens");
        let notes = reader.select_with_deleted::<note::Entity>().order_by(note::Column::Position, Asc);
        let mut notes = notes.order_by(note::Column::Id, Asc).all().await.expect("reads");
        notes.retain(|note| note.subscription == subscription);
        notes
    }

    /// Returns how many events about each thing a subscription has written down in a tenant.
    pub async fn heard(&self, tenant: TenantId, subscription: &str) -> BTreeMap<String, usize> {
        let mut heard = BTreeMap::new();
        for note in self.notes(tenant, subscription).await {
            *heard.entry(note.subject).or_insert(0) += 1;
        }
        heard
    }

    /// Returns the tenant's events of a type.
    pub async fn events(&self, tenant: TenantId, kind: &'static str) -> Vec<EventRow> {
        store::assign_positions(&self.store).await.expect("numbers");
        let rows = store::tenant_events_after(&self.store, tenant, 0, Some(&[kind]), 100_000).await;
        rows.expect("reads")
    }

    /// Lets the time pass after which everything that failed is tried again.
    pub fn pass(&self, seconds: i64) {
        self.clock.shift(seconds * 1_000_000);
    }
}

/// Records one event.
pub async fn record(store: &Store, tenant: TenantId, subject: &str) {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await.expect("opens");
    writer.record(Event::about(CHANGED, subject, json!({}))).await.expect("records");
    writer.commit(Answer::no_content()).await.expect("commits");
}

/// Records many events about one thing in one transaction.
pub async fn record_many(store: &Store, tenant: TenantId, subject: &str, count: usize) {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await.expect("opens");
    for _ in 0..count {
        writer.record(Event::about(CHANGED, subject, json!({}))).await.expect("records");
    }
    writer.commit(Answer::no_content()).await.expect("commits");
}

/// How a subscriber fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With an error, after it has written.
    Error,
    /// With a panic.
    Panic,
    /// As if the database were away.
    Away,
    /// By never ending.
    Never,
}

/// Writes down what it is given.
#[derive(Clone, Default)]
pub struct Notebook {
    name: &'static str,
    /// What it fails at, and how often from now.
    failing: Arc<Mutex<HashMap<String, (Failure, u32)>>>,
    /// What it was given, in that order, failures too.
    given: Arc<Mutex<Vec<(TenantId, String, i64)>>>,
}

impl Notebook {
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn subscription(&self) -> Subscription {
        Subscription::new(self.name, Kinds::Of(&[CHANGED]), self.clone())
    }

    /// Returns a dispatcher of this subscription alone.
    pub fn dispatcher(&self, ground: &Ground) -> Dispatcher {
        Dispatcher::new(ground.store.clone(), vec![self.subscription()])
    }

    /// Fails at this subject so often.
    pub fn fail(&self, subject: &str, failure: Failure, times: u32) {
        self.failing.lock().expect("free").insert(subject.to_owned(), (failure, times));
    }

    pub fn recover(&self) {
        self.failing.lock().expect("free").clear();
    }

    /// Returns the positions about a thing that it was given, in the order in which they came.
    pub fn given(&self, subject: &str) -> Vec<i64> {
        let given = self.given.lock().expect("free");
        given.iter().filter(|(_, about, _)| about == subject).map(|(_, _, position)| *position).collect()
    }

    /// Returns all that it was given, in the order in which it came.
    pub fn order(&self) -> Vec<(TenantId, String, i64)> {
        self.given.lock().expect("free").clone()
    }

    fn failure(&self, subject: &str) -> Option<Failure> {
        let mut failing = self.failing.lock().expect("free");
        let (failure, times) = failing.get_mut(subject)?;
        *times = times.checked_sub(1)?;
        Some(*failure)
    }
}

impl Subscriber for Notebook {
    fn apply<'a, 'c: 'a>(
        &'a self,
        writer: &'a mut Writer<'c>,
        event: &'a EventRow,
    ) -> BoxFuture<'a, kernel::Result<()>> {
        Box::pin(async move {
            let position = event.position.expect("it has one");
            self.given.lock().expect("free").push((event.tenant_id, event.subject.clone(), position));
            assert_eq!(writer.tenant(), event.tenant_id);
            let note = note::ActiveModel {
                subscription: Set(self.name.to_owned()),
                event_id: Set(event.id),
                position: Set(position),
                subject: Set(event.subject.clone()),
                ..Default::default()
            };
            writer.append::<note::Entity>(note).await?;
            match self.failure(&event.subject) {
                None => Ok(()),
                Some(Failure::Error) => Err(Error::internal(format!("no good: {}", event.subject))),
                Some(Failure::Panic) => panic!("a subscriber's bug"),
                Some(Failure::Never) => std::future::pending().await,
                Some(Failure::Away) => Err(Error::unavailable("store.unavailable", "away")),
            }
        })
    }
}

/// Runs a dispatcher until it is idle.
pub async fn settle(dispatcher: &Dispatcher) -> u64 {
    dispatcher.run_until_idle().await.expect("runs")
}

/// Returns how often each of these is there.
pub fn tally(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}
