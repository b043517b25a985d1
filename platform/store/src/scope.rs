//! Rows that belong to a tenant, and queries that cannot leave it. A query starts at
//! `reader.select::<E>()`, which carries the tenant filter, and runs only through the handle it
//! started from. Not for rows without a tenant: those need a named system purpose.

use kernel::{Id, IdKind, Result};
use sea_orm::sea_query::{IntoCondition, Order};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
};

use crate::session::Session;

/// The columns that every tenant row has.
pub trait TenantRow: EntityTrait {
    /// What the row's id names.
    type Kind: IdKind;
    /// The primary key beside the tenant.
    const ID: Self::Column;
    /// The tenant.
    const TENANT: Self::Column;
    /// When the row was written.
    const CREATED_AT: Self::Column;
    /// Who wrote it.
    const CREATED_BY: Self::Column;
}

/// A tenant row that changes over time: it has a version, remembers who changed it, is deleted
/// softly, and every change is an event. Append-only rows stop at [`TenantRow`].
pub trait TenantEntity: TenantRow {
    /// Counts the changes; starts at 1.
    const VERSION: Self::Column;
    /// When it last changed.
    const UPDATED_AT: Self::Column;
    /// Who changed it last.
    const UPDATED_BY: Self::Column;
    /// When it was deleted, if it was.
    const DELETED_AT: Self::Column;
    /// What its events' names start with, such as `inventory.item`.
    const EVENTS: &'static str;

    /// Returns what an event says about the row.
    fn snapshot(row: &Self::Model) -> serde_json::Value;
}

/// Implements [`TenantRow`] for an entity whose columns have the usual names.
#[macro_export]
macro_rules! tenant_row {
    ($entity:ty, $kind:ty) => {
        impl $crate::TenantRow for $entity {
            type Kind = $kind;
            const ID: Column = Column::Id;
            const TENANT: Column = Column::TenantId;
            const CREATED_AT: Column = Column::CreatedAt;
            const CREATED_BY: Column = Column::CreatedBy;
        }
    };
}

/// Implements [`TenantRow`] and [`TenantEntity`] for an entity whose columns have the usual names;
/// the last argument turns a row into what its events say.
#[macro_export]
macro_rules! tenant_entity {
    ($entity:ty, $kind:ty, $events:literal, $snapshot:expr) => {
        $crate::tenant_row!($entity, $kind);
        impl $crate::TenantEntity for $entity {
            const VERSION: Column = Column::Version;
            const UPDATED_AT: Column = Column::UpdatedAt;
            const UPDATED_BY: Column = Column::UpdatedBy;
            const DELETED_AT: Column = Column::DeletedAt;
            const EVENTS: &'static str = $events;

            fn snapshot(row: &Model) -> $crate::Json {
                $snapshot(row)
            }
        }
    };
}

/// A query over one tenant's rows of one kind.
#[must_use = "a query does nothing until it is run"]
pub struct Scoped<'s, E: EntityTrait> {
    pub(crate) session: &'s Session,
    pub(crate) select: Select<E>,
    lock: bool,
}

impl<'s, E: TenantRow> Scoped<'s, E> {
    pub(crate) fn new(session: &'s Session, tenant: kernel::TenantId, filtered: bool) -> Self {
        let mut select = E::find();
        if filtered {
            select = select.filter(E::TENANT.eq(tenant));
        }
        Self { session, select, lock: false }
    }

    /// Keeps the rows that meet this condition too; nothing given here widens the scope.
    pub fn filter(mut self, condition: impl IntoCondition) -> Self {
        self.select = QueryFilter::filter(self.select, condition.into_condition());
        self
    }

    /// Keeps the row with this id.
    pub fn id(self, id: Id<E::Kind>) -> Self {
        self.filter(E::ID.eq(id))
    }

    /// Sorts by this column, after those named before.
    pub fn order_by(mut self, column: E::Column, order: Order) -> Self {
        self.select = QueryOrder::order_by(self.select, column, order);
        self
    }

    /// Gives at most this many rows.
    pub fn limit(mut self, rows: u64) -> Self {
        self.select = QuerySelect::limit(self.select, rows);
        self
    }

    /// Locks the rows until the transaction ends. On SQLite a Writer is alone anyway.
    pub fn lock(mut self) -> Self {
        self.lock = true;
        self
    }

    /// Runs the query and gives the first row.
    pub async fn one(self) -> Result<Option<E::Model>> {
        let lent = self.session.lend().await?;
        let select = locked(self.select, self.lock, lent.get_database_backend());
        let result = select.one(&*lent).await;
        lent.check(result)
    }

    /// Runs the query and gives all rows; set a limit.
    pub async fn all(self) -> Result<Vec<E::Model>> {
        let lent = self.session.lend().await?;
        let select = locked(self.select, self.lock, lent.get_database_backend());
        let result = select.all(&*lent).await;
        lent.check(result)
    }

    /// Returns the SQL, for tests of the scope.
    pub fn sql(&self, engine: crate::Engine) -> String {
        self.select.build(crate::backend(engine)).to_string()
    }
}

impl<E: TenantEntity> Scoped<'_, E> {
    /// Leaves out what is deleted.
    pub fn live(self) -> Self {
        self.filter(E::DELETED_AT.is_null())
    }
}

pub(crate) fn locked<E: EntityTrait>(select: Select<E>, lock: bool, backend: DbBackend) -> Select<E> {
    if lock && backend == DbBackend::Postgres { select.lock_exclusive() } else { select }
}
