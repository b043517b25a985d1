//! Changes one tenant's rows in one transaction. The safety of every change lives here, so a
//! hand-written action has it without asking: the tenant in every WHERE clause and in every row,
//! the audit columns, the version check, the soft delete, the event in the same transaction, the
//! idempotency key with its answer, a bounded hold. Not for calls to other services: while it is
//! open, `Ctx` is borrowed and no client can be called.

use std::marker::PhantomData;

use kernel::{Answer, Ctx, Error, Id, Idempotency, Result, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _, IntoCondition, SimpleExpr};
use sea_orm::{ActiveModelTrait, ColumnTrait as _, ConnectionTrait, IntoActiveModel, QueryFilter, UpdateMany, Value};

use crate::change::{Change, change_event, record};
use crate::event::{Event, Stamp};
use crate::idempotency::{self, Claim};
use crate::listen::Committed;
use crate::scope::{Scoped, TenantEntity, TenantRow};
use crate::session::{self, Session};

/// Changes the rows of one tenant. Nothing is kept unless it commits.
pub struct Writer<'c> {
    pub(crate) session: Session,
    pub(crate) stamp: Stamp,
    pub(crate) filtered: bool,
    pub(crate) idempotency: Option<Idempotency>,
    pub(crate) context: PhantomData<&'c mut Ctx>,
}

impl Writer<'_> {
    /// Returns the tenant whose rows this changes.
    pub fn tenant(&self) -> TenantId {
        self.stamp.tenant
    }

    /// Returns who acts, as the audit columns record it.
    pub fn actor(&self) -> &str {
        &self.stamp.actor
    }

    /// Returns the moment that all rows of this transaction are stamped with.
    pub fn now(&self) -> Timestamp {
        self.stamp.now
    }

    /// Returns the id of the chain of requests that this belongs to.
    pub fn correlation_id(&self) -> &str {
        &self.stamp.correlation_id
    }

    /// Claims the request's idempotency key; a key that was answered before ends the request here.
    pub(crate) async fn claim_key(mut self) -> Result<Self> {
        let Some(key) = &self.idempotency else { return Ok(self) };
        match idempotency::claim(&self.session, &self.stamp, key).await? {
            Claim::Ours => Ok(self),
            Claim::Answered(answer) => {
                self.idempotency = None;
                // The first answer may sit in a batch that is not on disk yet: wait for it.
                self.session.finish(true).await?;
                Err(Error::replay(answer))
            }
        }
    }

    /// Starts a query over the rows that are not deleted, as this transaction sees them.
    pub fn select<E: TenantEntity>(&self) -> Scoped<'_, E> {
        self.select_with_deleted().live()
    }

    /// Starts a query over all rows, deleted ones too.
    pub fn select_with_deleted<E: TenantRow>(&self) -> Scoped<'_, E> {
        Scoped::new(&self.session, self.stamp.tenant, self.filtered)
    }

    /// Inserts the row and appends `….created`.
    pub async fn insert<E>(&mut self, row: impl IntoActiveModel<E::ActiveModel>) -> Result<E::Model>
    where
        E: TenantEntity,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        let mut row = row.into_active_model();
        row.set(E::VERSION, 1i64.into());
        row.set(E::UPDATED_AT, self.stamp.now.into());
        row.set(E::UPDATED_BY, self.stamp.actor.clone().into());
        row.set(E::DELETED_AT, Value::BigInt(None));
        let step = self.session.begin_step();
        let model = self.append_row::<E>(row).await?;
        let event = change_event::<E>("created", &model, None);
        record(&self.session, &self.stamp, &event).await?;
        step.end();
        Ok(model)
    }

    /// Inserts a row that belongs to a larger thing and never changes, such as a ledger line. The
    /// event is that of the larger thing, changed in the same transaction.
    pub async fn append<E>(&mut self, row: impl IntoActiveModel<E::ActiveModel>) -> Result<E::Model>
    where
        E: TenantRow,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        self.append_row::<E>(row.into_active_model()).await
    }

    async fn append_row<E>(&self, mut row: E::ActiveModel) -> Result<E::Model>
    where
        E: TenantRow,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        if row.get(E::ID).is_not_set() {
            row.set(E::ID, Id::<E::Kind>::new().into());
        }
        row.set(E::TENANT, self.stamp.tenant.into());
        row.set(E::CREATED_AT, self.stamp.now.into());
        row.set(E::CREATED_BY, self.stamp.actor.clone().into());
        let lent = self.session.lend().await?;
        let inserted = E::insert(row).exec_with_returning(&*lent).await;
        lent.check(inserted)
    }

    /// Sets the columns that `row` has set, and appends `….updated`. With `expected`, only if that
    /// is still the current version.
    pub async fn update<E>(&mut self, id: Id<E::Kind>, expected: Option<i64>, row: E::ActiveModel) -> Result<E::Model>
    where
        E: TenantEntity,
    {
        self.change::<E>(id).expect_version(expected).set_row(row).run("updated").await
    }

    /// Marks the row as deleted and appends `….deleted`.
    pub async fn delete<E: TenantEntity>(&mut self, id: Id<E::Kind>, expected: Option<i64>) -> Result<E::Model> {
        self.change::<E>(id).expect_version(expected).delete().run("deleted").await
    }

    /// Brings a deleted row back and appends `….restored`.
    pub async fn restore<E: TenantEntity>(&mut self, id: Id<E::Kind>) -> Result<E::Model> {
        self.change::<E>(id).restore().run("restored").await
    }

    /// Starts a change of one live row: set columns, guard it, name its event.
    pub fn change<E: TenantEntity>(&mut self, id: Id<E::Kind>) -> Change<'_, E> {
        Change::new(&self.session, &self.stamp, self.filtered, id)
    }

    /// Marks all live rows that meet this condition as deleted, and says how many there were. It
    /// appends no event: record one that says what happened to all of them.
    pub async fn delete_all<E: TenantEntity>(&mut self, condition: impl IntoCondition) -> Result<u64> {
        let mut update = E::update_many()
            .col_expr(E::DELETED_AT, SimpleExpr::Value(self.stamp.now.into()))
            .col_expr(E::VERSION, Expr::col(E::VERSION).add(1i64))
            .col_expr(E::UPDATED_AT, SimpleExpr::Value(self.stamp.now.into()))
            .col_expr(E::UPDATED_BY, SimpleExpr::Value(self.stamp.actor.clone().into()));
        update = QueryFilter::filter(update, condition.into_condition());
        update = QueryFilter::filter(update, E::DELETED_AT.is_null());
        if self.filtered {
            update = QueryFilter::filter(update, E::TENANT.eq(self.stamp.tenant));
        }
        let lent = self.session.lend().await?;
        let deleted = update.exec(&*lent).await;
        lent.check(deleted).map(|done| done.rows_affected)
    }

    /// Changes rows of the product's own bookkeeping, without an event, and says how many there were.
    /// For tables made with `tenant_bookkeeping`; what people own changes through [`Writer::change`].
    pub async fn revise<E: TenantRow>(&mut self, mut update: UpdateMany<E>) -> Result<u64> {
        if self.filtered {
            update = QueryFilter::filter(update, E::TENANT.eq(self.stamp.tenant));
        }
        let lent = self.session.lend().await?;
        let revised = update.exec(&*lent).await;
        lent.check(revised).map(|done| done.rows_affected)
    }

    /// Removes rows of the product's own bookkeeping, without an event, and says how many there were.
    pub async fn remove<E: TenantRow>(&mut self, condition: impl IntoCondition) -> Result<u64> {
        let mut delete = QueryFilter::filter(E::delete_many(), condition.into_condition());
        if self.filtered {
            delete = QueryFilter::filter(delete, E::TENANT.eq(self.stamp.tenant));
        }
        let lent = self.session.lend().await?;
        let removed = delete.exec(&*lent).await;
        lent.check(removed).map(|done| done.rows_affected)
    }

    /// Makes it impossible to commit: for whoever finds that what was done here must not be kept, and
    /// cannot be sure that the caller passes an error on.
    pub fn spoil(&mut self) {
        drop(self.session.begin_step());
    }

    /// Tells this process's listeners of something when the transaction commits; the log does not
    /// learn of it. For waking who waits.
    pub fn announce(&self, kind: &str, subject: &str) {
        let tenant = self.stamp.tenant;
        self.session.note(|| Committed { id: None, tenant, kind: kind.to_owned(), subject: subject.to_owned() });
    }

    /// Waits until no other transaction of the tenant holds this name, and holds it to the end: for
    /// rules over several rows, such as "one administrator stays". On SQLite a Writer is alone anyway.
    pub async fn alone(&self, what: &str) -> Result<()> {
        let lent = self.session.lend().await?;
        if lent.get_database_backend() != sea_orm::DbBackend::Postgres {
            return lent.check(Ok(()));
        }
        let name = format!("{}/{what}", self.stamp.tenant);
        let lock = sea_orm::Statement::from_sql_and_values(
            sea_orm::DbBackend::Postgres,
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            [name.into()],
        );
        let locked = lent.execute_raw(lock).await;
        lent.check(locked).map(|_| ())
    }

    /// Appends an event that changes no row, such as an export.
    pub async fn record(&mut self, event: Event) -> Result<()> {
        record(&self.session, &self.stamp, &event).await
    }

    /// Commits, and gives the answer back once it is on disk. The answer is stored with the
    /// request's idempotency key in the same transaction.
    pub async fn commit(self, answer: Answer) -> Result<Answer> {
        let Self { session, stamp, idempotency, .. } = self;
        let end = async move {
            if let Some(key) = &idempotency {
                idempotency::remember(&session, &stamp, key, &answer).await?;
            }
            session.settle(true).await?;
            Ok(answer)
        };
        session::to_the_end(end).await
    }

    /// Undoes everything.
    pub async fn roll_back(self) -> Result<()> {
        self.session.finish(false).await
    }
}

/// There is no such row, or not for this caller.
pub fn not_found() -> Error {
    Error::not_found("request.not_found", "there is no such thing here")
}

/// The caller's version of the row is not the current one.
pub fn version_mismatch() -> Error {
    Error::precondition("request.version_mismatch", "it has changed since you read it: read it again, then decide")
}
