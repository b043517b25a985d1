//! Changes one tenant's rows in one transaction. The safety of every change lives here, so a
//! hand-written action has it without asking: the tenant in every WHERE clause and in every row,
//! the audit columns, the version check, the soft delete, the event in the same transaction, the
//! idempotency key with its answer, a bounded hold. Not for calls to other services: while it is
//! open, `Ctx` is borrowed and no client can be called.

use std::marker::PhantomData;

use kernel::{Answer, Ctx, Error, Id, Idempotency, Result, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, IntoCondition, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IdenStatic, IntoActiveModel, Iterable, ModelTrait,
    QueryFilter, UpdateMany, Value,
};

use crate::event::{self, Event, Stamp};
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
        let mut change = self.change::<E>(id).assign(E::DELETED_AT, SimpleExpr::Value(Value::BigInt(None)));
        change.deleted = true;
        change.run("restored").await
    }

    /// Starts a change of one live row: set columns, guard it, name its event.
    pub fn change<E: TenantEntity>(&mut self, id: Id<E::Kind>) -> Change<'_, E> {
        let update = E::update_many();
        Change {
            session: &self.session,
            stamp: &self.stamp,
            filtered: self.filtered,
            id,
            update,
            expected: None,
            deleted: false,
            data: None,
        }
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

pub(crate) async fn record(session: &Session, stamp: &Stamp, event: &Event) -> Result<()> {
    let lent = session.lend().await?;
    let appended = lent.execute(&event::append(event, stamp)).await;
    lent.check(appended)?;
    session.note(|| Committed { tenant: stamp.tenant, kind: event.kind.clone(), subject: event.subject.clone() });
    Ok(())
}

fn change_event<E: TenantEntity>(verb: &str, row: &E::Model, data: Option<serde_json::Value>) -> Event {
    let version = match row.get(E::VERSION) {
        Value::BigInt(Some(version)) => version,
        _ => 0,
    };
    Event {
        kind: format!("{}.{verb}", E::EVENTS),
        subject: row_id::<E>(row).to_string(),
        version,
        data: data.unwrap_or_else(|| E::snapshot(row)),
    }
}

fn row_id<E: TenantRow>(row: &E::Model) -> Id<E::Kind> {
    match row.get(E::ID) {
        Value::Uuid(Some(uuid)) => Id::from_uuid(uuid),
        _ => unreachable!("the id column of a tenant row is a UUID"),
    }
}

/// What an event says, computed from the row as it is after the change.
type EventData<E> = Box<dyn FnOnce(&<E as EntityTrait>::Model) -> serde_json::Value + Send>;

/// A change of one row in the making.
#[must_use = "a change does nothing until it is run"]
pub struct Change<'w, E: TenantEntity> {
    session: &'w Session,
    stamp: &'w Stamp,
    filtered: bool,
    id: Id<E::Kind>,
    update: UpdateMany<E>,
    expected: Option<i64>,
    deleted: bool,
    data: Option<EventData<E>>,
}

impl<E: TenantEntity> Change<'_, E> {
    /// Makes the change only if this is still the current version.
    pub fn expect_version(mut self, expected: Option<i64>) -> Self {
        self.expected = expected;
        self
    }

    /// Marks the row as deleted, under an event of another name than `deleted`.
    pub fn delete(self) -> Self {
        let now = self.stamp.now;
        self.assign(E::DELETED_AT, SimpleExpr::Value(now.into()))
    }

    /// Sets a column to a value.
    pub fn set(self, column: E::Column, value: impl Into<Value>) -> Self {
        self.set_expr(column, SimpleExpr::Value(value.into()))
    }

    /// Sets a column to an expression over the row as it is, such as `quantity + 5`. The columns
    /// that the Writer owns (tenant, id, audit, version, deletion) stay what it makes them.
    pub fn set_expr(self, column: E::Column, value: SimpleExpr) -> Self {
        let owned =
            [E::ID, E::TENANT, E::CREATED_AT, E::CREATED_BY, E::VERSION, E::UPDATED_AT, E::UPDATED_BY, E::DELETED_AT];
        if owned.iter().any(|own| own.as_str() == column.as_str()) { self } else { self.assign(column, value) }
    }

    fn assign(mut self, column: E::Column, value: SimpleExpr) -> Self {
        self.update = self.update.col_expr(column, value);
        self
    }

    /// Sets the columns that the row has set.
    pub fn set_row(mut self, row: E::ActiveModel) -> Self {
        for column in E::Column::iter() {
            if let sea_orm::ActiveValue::Set(value) = row.get(column) {
                self = self.set(column, value);
            }
        }
        self
    }

    /// Makes the change only if the row meets this condition too.
    pub fn guard(mut self, condition: impl IntoCondition) -> Self {
        self.update = QueryFilter::filter(self.update, condition.into_condition());
        self
    }

    /// Says what the event tells, given the row after the change; by default its snapshot.
    pub fn event_data(mut self, data: impl FnOnce(&E::Model) -> serde_json::Value + Send + 'static) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// Makes the change, or says that the guard did not hold (`None`).
    pub async fn run_if(mut self, verb: &str) -> Result<Option<E::Model>> {
        // The scope comes last, so nothing set before can move a row to another tenant or widen it.
        let (now, actor) = (self.stamp.now, self.stamp.actor.clone());
        self = self
            .assign(E::VERSION, Expr::col(E::VERSION).add(1i64))
            .assign(E::UPDATED_AT, SimpleExpr::Value(now.into()))
            .assign(E::UPDATED_BY, SimpleExpr::Value(actor.into()));
        let (session, stamp, data) = (self.session, self.stamp, self.data.take());
        let filtered = self.filtered;
        let mut update = QueryFilter::filter(self.update, E::ID.eq(self.id));
        if filtered {
            update = QueryFilter::filter(update, E::TENANT.eq(stamp.tenant));
        }
        let state = if self.deleted { E::DELETED_AT.is_not_null() } else { E::DELETED_AT.is_null() };
        update = QueryFilter::filter(update, state);
        if let Some(expected) = self.expected {
            update = QueryFilter::filter(update, E::VERSION.eq(expected));
        }
        let step = session.begin_step();
        let lent = session.lend().await?;
        let changed = update.exec_with_returning(&*lent).await;
        let Some(row) = lent.check(changed)?.into_iter().next() else {
            step.end();
            return Ok(None);
        };
        let data = data.map(|data| data(&row));
        let event = change_event::<E>(verb, &row, data);
        record(session, stamp, &event).await?;
        step.end();
        Ok(Some(row))
    }

    /// Makes the change; says "not found" or "it has changed" where it does not apply.
    pub async fn run(self, verb: &str) -> Result<E::Model> {
        let (session, tenant, filtered) = (self.session, self.stamp.tenant, self.filtered);
        let (id, deleted, expected) = (self.id, self.deleted, self.expected);
        if let Some(row) = self.run_if(verb).await? {
            return Ok(row);
        }
        let query = Scoped::<E>::new(session, tenant, filtered).id(id);
        let state = if deleted { E::DELETED_AT.is_not_null() } else { E::DELETED_AT.is_null() };
        match query.filter(state).one().await? {
            None => Err(not_found()),
            Some(row) if expected.is_some_and(|expected| row.get(E::VERSION) != expected.into()) => {
                Err(version_mismatch())
            }
            Some(_) => Err(Error::conflict("request.refused_by_state", "the present state does not allow this")),
        }
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
