//! The data layer: [`Reader`] and [`Writer`] that know only one tenant's rows, on SQLite and on
//! PostgreSQL; the event log; migrations; backup and transfer. Nothing else in Portico reaches a
//! database connection. Not for business words.
//!
//! # An unscoped query does not compile
//!
//! A query runs through a handle that already holds the tenant:
//!
//! ```
//! # use store::{Reader, TenantEntity};
//! async fn rows<E: TenantEntity>(reader: &Reader<'_>) -> kernel::Result<usize> {
//!     Ok(reader.select::<E>().all().await?.len())
//! }
//! ```
//!
//! The same query started at the entity has nothing to run on, because a `Reader` is not a
//! connection and gives none away:
//!
//! ```compile_fail,E0277
//! # use store::{Reader, TenantEntity};
//! async fn rows<E: TenantEntity>(reader: &Reader<'_>) -> kernel::Result<usize> {
//!     Ok(E::find().all(reader).await.expect("rows").len())
//! }
//! ```
//!
//! A table without a tenant has no place in a `Reader` either:
//!
//! ```compile_fail,E0277
//! # use store::Reader;
//! async fn rows<E: sea_orm::EntityTrait>(reader: &Reader<'_>) -> kernel::Result<usize> {
//!     Ok(reader.select::<E>().all().await?.len())
//! }
//! ```
//!
//! And while a `Writer` is open, the context cannot be lent to a call to another service:
//!
//! ```compile_fail,E0502
//! # use store::Store;
//! async fn call_another_service(_: &kernel::Ctx) {}
//! async fn action(store: &Store, ctx: &mut kernel::Ctx) -> kernel::Result<()> {
//!     let writer = store.write(ctx).await?;
//!     call_another_service(ctx).await;
//!     writer.roll_back().await
//! }
//! ```

mod change;
mod checksum;
mod engine;
mod event;
mod failure;
pub mod fault;
mod figures;
mod glance;
mod idempotency;
mod lane;
mod link;
mod listen;
mod log;
mod migrate;
mod open;
mod own_tables;
mod reader;
mod relay;
mod schema;
mod scope;
mod session;
mod statistics;
mod system;
mod tenant;
mod transfer;
mod vault;
mod writer;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::{Clock, Ctx, Result};
use sea_orm::{ConnectionTrait, DbBackend, TransactionTrait};
use tokio::sync::watch;

use crate::engine::Connections;
use crate::event::Stamp;
use crate::link::{Access, Link, Opening};
use crate::listen::Listeners;
use crate::open::Open;
use crate::session::{Label, Session, Writing};
use crate::statistics::InUse;

pub use crate::change::Change;
pub use crate::checksum::Checksum;
pub use crate::engine::{Config, Engine, Walls};
pub use crate::event::{Event, EventFilter, EventKind, Model as EventRow};
pub use crate::failure::{Constraint, from_database, register_constraints};
pub use crate::figures::Figures;
pub use crate::glance::Glance;
pub use crate::idempotency::purge_idempotency_keys;
pub use crate::listen::{Committed, committed_after, last_position};
pub use crate::log::{LogState, count_events_after, events_after, log_state, purge_events, tenant_events_after};
pub use crate::migrate::{Migrations, Report, Step, migrate, pending};
pub use crate::reader::Reader;
pub use crate::relay::assign_positions;
pub use crate::schema::{Schema, Table, Type};
pub use crate::scope::{Scoped, TenantEntity, TenantRow};
pub use crate::statistics::Statistics;
pub use crate::system::{Purpose, System, system_context};
pub use crate::tenant::{TenantChange, TenantDraft, TenantFilter, TenantRecord};
pub use crate::transfer::{Phase, Progress, TableReport, TransferReport, Watch, backup, restore, transfer};
pub use crate::vault::{Place, Vault};
pub use crate::writer::{Writer, not_found, version_mismatch};
/// JSON data, as snapshots of rows give it.
pub type Json = serde_json::Value;

pub(crate) fn backend(engine: Engine) -> DbBackend {
    match engine {
        Engine::Sqlite => DbBackend::Sqlite,
        Engine::Postgres => DbBackend::Postgres,
    }
}

/// The open store. Cloning it is cheap.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    connections: Connections,
    config: Config,
    clock: Clock,
    closing: AtomicBool,
    statistics: Arc<Statistics>,
    listeners: Listeners,
}

impl Store {
    /// Opens the store. The schema must be up to date: see [`migrate`].
    pub async fn open(config: Config, clock: Clock) -> Result<Self> {
        let statistics = Arc::<Statistics>::default();
        let connections = Connections::open(&config, statistics.clone()).await?;
        let (closing, listeners) = (AtomicBool::new(false), Listeners::default());
        Ok(Self { inner: Arc::new(Inner { connections, config, clock, closing, statistics, listeners }) })
    }

    /// Returns the engine.
    pub fn engine(&self) -> Engine {
        self.inner.connections.engine()
    }

    /// Returns the clock that rows are stamped with.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Returns the configuration that it was opened with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Returns what it has counted since it was opened.
    pub fn statistics(&self) -> &Statistics {
        &self.inner.statistics
    }

    /// Calls `listener` with the events of each transaction that this process commits, before the
    /// commit returns. It must be quick and must not use the store.
    pub fn listen(&self, listener: impl Fn(&[Committed]) + Send + Sync + 'static) {
        self.inner.listeners.add(Arc::new(listener));
    }

    /// Changes whenever this process has committed something that appended or announced an event.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.inner.listeners.committed()
    }

    /// Changes whenever readers of the log may find something new in it.
    pub fn readable(&self) -> watch::Receiver<u64> {
        self.inner.listeners.readable()
    }

    /// Says that readers of the log may find something new: another process has numbered events.
    pub fn ring(&self) {
        self.inner.listeners.ring();
    }

    fn writing(&self) -> Option<Writing> {
        let inner = &self.inner;
        let rings = self.engine() == Engine::Sqlite;
        Some(Writing { statistics: inner.statistics.clone(), listeners: inner.listeners.clone(), rings })
    }

    /// Opens a snapshot of the tenant's rows.
    pub async fn read<'c>(&self, ctx: &'c Ctx) -> Result<Reader<'c>> {
        self.refuse_when_closing()?;
        let open = self.begin(self.as_tenant(Access::Read, ctx)).await?;
        let label = Label::new("read", ctx.tenant().to_string(), ctx.request_id().as_str().to_owned());
        let limit = Duration::from_millis(self.inner.config.read_age_limit_ms);
        Ok(Reader {
            session: Session::new(open, limit, label, None),
            tenant: ctx.tenant(),
            filtered: self.inner.config.walls.filter,
            context: PhantomData,
        })
    }

    /// Opens a transaction that changes the tenant's rows. On SQLite it waits for the write lane.
    pub async fn write<'c>(&self, ctx: &'c mut Ctx) -> Result<Writer<'c>> {
        self.refuse_when_closing()?;
        let open = self.open_write(self.as_tenant(Access::Write, ctx)).await?;
        let idempotency = ctx.take_idempotency();
        let label = Label::new("write", ctx.tenant().to_string(), ctx.request_id().as_str().to_owned());
        let writer = Writer {
            session: Session::new(open, self.write_limit(), label, self.writing()),
            stamp: Stamp::of(ctx, self.inner.clock.now()),
            filtered: self.inner.config.walls.filter,
            idempotency,
            context: PhantomData,
        };
        writer.claim_key().await
    }

    /// Opens a transaction across tenants, for a named reason.
    pub async fn system(&self, purpose: Purpose) -> Result<System> {
        let open = self.open_write(Opening::System(Access::Write, purpose)).await?;
        Ok(self.system_session(open, purpose, self.writing()))
    }

    /// Opens a snapshot across tenants, for a named reason; nothing can be changed through it.
    pub async fn system_read(&self, purpose: Purpose) -> Result<System> {
        let open = self.begin(Opening::System(Access::Read, purpose)).await?;
        Ok(self.system_session(open, purpose, None))
    }

    fn system_session(&self, open: Open, purpose: Purpose, writing: Option<Writing>) -> System {
        let label = Label::new(purpose.role(), String::new(), String::new());
        System { session: Session::new(open, self.write_limit(), label, writing), purpose, now: self.inner.clock.now() }
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        let open = self.begin(Opening::Plain).await?;
        engine::setting(&open, "SELECT '1'").await.map(|_| ())
    }

    /// Says whether there is a table of this name.
    pub async fn has_table(&self, name: &str) -> Result<bool> {
        let (sql, readers) = match self.engine() {
            Engine::Sqlite => (
                "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
                self.inner.connections.readers(),
            ),
            Engine::Postgres => (
                "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1",
                self.inner.connections.readers(),
            ),
        };
        let statement = sea_orm::Statement::from_sql_and_values(backend(self.engine()), sql, [name.into()]);
        let row = readers.query_one_raw(statement).await.map_err(from_database)?;
        let count = row.map(|row| row.try_get_by_index::<i64>(0)).transpose().map_err(from_database)?;
        Ok(count.unwrap_or(0) > 0)
    }

    /// Says whether the login owns tables of the schema or could ignore row-level security anyway.
    pub async fn owns_tables(&self) -> Result<bool> {
        let sql = "SELECT (EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tableowner = session_user) \
                   OR (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user))::text";
        Ok(engine::setting(self.inner.connections.readers(), sql).await? == "true")
    }

    /// Refuses new transactions, lets open ones end and closes the connections.
    pub async fn close(&self) {
        self.inner.closing.store(true, Ordering::SeqCst);
        if let Connections::Sqlite { lane, .. } = &self.inner.connections {
            lane.close().await;
        }
        let closed = self.inner.connections.readers().clone().close().await;
        if let Err(error) = closed {
            tracing::warn!(error = %error, "the connections did not close cleanly");
        }
    }

    fn write_limit(&self) -> Duration {
        Duration::from_millis(self.inner.config.write_hold_limit_ms)
    }

    fn refuse_when_closing(&self) -> Result<()> {
        if self.inner.closing.load(Ordering::SeqCst) {
            return Err(failure::stopping());
        }
        Ok(())
    }

    /// Returns how a transaction of this tenant begins.
    fn as_tenant(&self, access: Access, ctx: &Ctx) -> Opening {
        if self.inner.config.walls.row_security { Opening::Tenant(access, ctx.tenant()) } else { Opening::Plain }
    }

    async fn open_write(&self, opening: Opening) -> Result<Open> {
        match &self.inner.connections {
            Connections::Sqlite { lane, .. } => Ok(Open::Lane(lane.enter().await?)),
            Connections::Postgres { .. } => self.begin(opening).await,
        }
    }

    /// Opens a transaction on a pooled connection. SQLite has neither roles nor a second wall.
    async fn begin(&self, opening: Opening) -> Result<Open> {
        let in_use = || InUse::count(&self.inner.statistics);
        let began = match &self.inner.connections {
            Connections::Sqlite { readers, .. } => readers.begin().await.map(|begun| Open::Pool(begun, in_use())),
            Connections::Postgres { pool } => {
                let pool = pool.get_postgres_connection_pool();
                Link::begin(pool, opening).await.map(|begun| Open::Link(begun, in_use()))
            }
        };
        began.map_err(|error| {
            let lent = self.inner.statistics.connections_in_use();
            failure::from_acquire(error, lent >= self.inner.config.pool_size() as usize)
        })
    }
}
