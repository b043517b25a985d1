//! The common ground of the tests of Reader and Writer: stores on each engine, contexts, the rule
//! that rows and events belong together, seeded chance. Not for assertions of one test.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use kernel::{Actor, Answer, Clock, Ctx, CtxParts, Id, Idempotency, PermissionSet, RequestId, TenantId, UserId};
use sea_orm::Order::Asc;
use sea_orm::{DbBackend, Set, Statement, StatementBuilder};
use store::{Config, EventFilter, EventRow, Purpose, Store, Writer, assign_positions, migrate};

use crate::database::{self, Database};
use crate::shop::{self, SHOP, shelf};

/// Returns a fresh database of each engine there is; the test's name is on the one that fails.
pub async fn engines() -> Vec<Database> {
    [Some(database::sqlite()), database::postgres().await].into_iter().flatten().collect()
}

/// Opens a migrated store.
pub async fn open(database: &Database) -> Store {
    open_with(database, |_| {}).await
}

/// Opens a migrated store with changed settings.
pub async fn open_with(database: &Database, change: impl FnOnce(&mut Config)) -> Store {
    let mut config = database.config.clone();
    change(&mut config);
    open_at(config).await
}

/// Opens a migrated store.
pub async fn open_at(config: Config) -> Store {
    println!("engine: {:?}", config.engine());
    migrate(&config, SHOP, &Clock::system()).await.expect("migrates");
    Store::open(config, Clock::system()).await.expect("opens")
}

/// Returns a context of a person; `key` is the idempotency key.
pub fn person(tenant: TenantId, user: UserId, key: Option<Idempotency>) -> Ctx {
    Ctx::new(CtxParts {
        tenant,
        actor: Actor::User(user),
        permissions: PermissionSet::default(),
        request_id: RequestId::create(),
        correlation_id: RequestId::create(),
        idempotency: key,
        reason: None,
    })
}

/// Returns a shelf to insert.
pub fn shelf(name: &str) -> shelf::ActiveModel {
    shelf::ActiveModel { name: Set(name.to_owned()), inside_id: Set(None), ..Default::default() }
}

/// Returns a change of a shelf's name.
pub fn renamed(name: &str) -> shelf::ActiveModel {
    shelf::ActiveModel { name: Set(name.to_owned()), ..Default::default() }
}

/// Inserts a shelf and commits.
pub async fn add(store: &Store, tenant: TenantId, name: &str) -> kernel::Result<Id<shelf::Shelf>> {
    let mut ctx = shop::ctx(tenant);
    let mut writer = store.write(&mut ctx).await?;
    let id = writer.insert::<shelf::Entity>(shelf(name)).await?.id;
    writer.commit(Answer::no_content()).await?;
    Ok(id)
}

/// Inserts a shelf and leaves the writer open.
pub async fn insert(writer: &mut Writer<'_>, name: &str) -> Id<shelf::Shelf> {
    writer.insert::<shelf::Entity>(shelf(name)).await.expect("inserts").id
}

/// What a tenant has: its shelves, deleted ones too, and the events of its log.
#[derive(Debug, PartialEq)]
pub struct History {
    pub shelves: Vec<shelf::Model>,
    pub events: Vec<EventRow>,
}

impl History {
    pub fn names(&self) -> BTreeSet<&str> {
        self.shelves.iter().map(|row| row.name.as_str()).collect()
    }

    pub fn ids(&self) -> BTreeSet<Id<shelf::Shelf>> {
        self.shelves.iter().map(|row| row.id).collect()
    }

    /// Every row has an event for each of its versions, in that order; every event has its row.
    pub fn assert_whole(&self) {
        let mut versions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for event in &self.events {
            versions.entry(&event.subject).or_default().push(event.subject_version);
        }
        for row in &self.shelves {
            let found = versions.remove(row.id.to_string().as_str()).unwrap_or_default();
            assert_eq!(found, (1..=row.version).collect::<Vec<_>>(), "the events of {row:?}");
        }
        assert!(versions.is_empty(), "events without their row: {versions:?}");
        let ids: BTreeSet<_> = self.events.iter().map(|event| event.id.uuid()).collect();
        assert_eq!(ids.len(), self.events.len(), "each event has an id of its own");
    }
}

/// Reads all of a tenant's shelves and events in one snapshot.
pub async fn history(store: &Store, tenant: TenantId) -> History {
    assign_positions(store).await.expect("numbers");
    let ctx = shop::ctx(tenant);
    let reader = store.read(&ctx).await.expect("opens");
    let shelves = reader.select_with_deleted::<shelf::Entity>().order_by(shelf::Column::Id, Asc).all();
    let shelves = shelves.await.expect("reads");
    let events = reader.events_after(0, &every_event(), 1_000_000).await.expect("reads");
    reader.close().await.expect("closes");
    History { shelves, events }
}

/// Returns the filter that all events of shelves pass.
pub fn every_event() -> EventFilter {
    let kinds = ["created", "updated", "deleted", "restored", "renamed", "noted"];
    let kinds = kinds.map(|verb| &*format!("shop.shelf.{verb}").leak()).to_vec();
    EventFilter { kinds, subject: None }
}

/// Lends a future the processor a few times and then drops it, as a client that goes away does.
pub struct Abandoned<F> {
    future: Pin<Box<F>>,
    polls: u64,
}

/// Returns the future's answer, or nothing when it was dropped after that many polls.
pub fn abandon_after<F: Future>(polls: u64, future: F) -> Abandoned<F> {
    Abandoned { future: Box::pin(future), polls }
}

impl<F: Future> Future for Abandoned<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            // The last poll has been: go away while whatever it started is under way.
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Leaves SQLite ten pages of room, until the connection that writes is opened anew, as it is when
/// a batch is given up.
pub async fn fill_disk(store: &Store) {
    let system = store.system(Purpose::Housekeeping).await.expect("opens");
    let pages = system.rows(&Sql("PRAGMA page_count")).await.expect("reads");
    let pages: i64 = pages[0].try_get_by_index(0).expect("a number");
    let limit = format!("PRAGMA max_page_count = {}", pages + 10);
    system.rows(&Sql(&limit)).await.expect("sets");
    system.commit().await.expect("commits");
}

/// Chance that repeats: splitmix64.
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        println!("seed: {seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Returns a number below the limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// SQL as it is, for what a service could not say through the typed calls.
pub struct Sql<'s>(pub &'s str);

impl StatementBuilder for Sql<'_> {
    fn build(&self, backend: &DbBackend) -> Statement {
        Statement::from_string(*backend, self.0)
    }
}
