//! A change of one row in the making: what to set, on which conditions, and the event that tells it.
//! Not for opening and committing: see `writer`.

use kernel::{Error, Id, Result};
use sea_orm::sea_query::{Expr, ExprTrait, IntoCondition, SimpleExpr};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait, ConnectionTrait, EntityTrait, IdenStatic, Iterable, ModelTrait, QueryFilter,
    UpdateMany, Value,
};

use crate::event::{self, Event, Stamp};
use crate::listen::Committed;
use crate::scope::{Scoped, TenantEntity, TenantRow};
use crate::session::Session;
use crate::writer::{not_found, version_mismatch};

pub(crate) async fn record(session: &Session, stamp: &Stamp, event: &Event) -> Result<()> {
    let (lent, id) = (session.lend().await?, Id::new());
    let appended = lent.execute(&event::append(id, event, stamp)).await;
    lent.check(appended)?;
    let (tenant, kind, subject) = (stamp.tenant, event.kind.clone(), event.subject.clone());
    session.note(|| Committed { id: Some(id), tenant, kind, subject });
    Ok(())
}

pub(crate) fn change_event<E: TenantEntity>(verb: &str, row: &E::Model, data: Option<serde_json::Value>) -> Event {
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

impl<'w, E: TenantEntity> Change<'w, E> {
    pub(crate) fn new(session: &'w Session, stamp: &'w Stamp, filtered: bool, id: Id<E::Kind>) -> Self {
        let update = E::update_many();
        Self { session, stamp, filtered, id, update, expected: None, deleted: false, data: None }
    }

    /// Changes a deleted row instead of a live one: brings it back.
    pub(crate) fn restore(self) -> Self {
        let mut change = self.assign(E::DELETED_AT, SimpleExpr::Value(Value::BigInt(None)));
        change.deleted = true;
        change
    }

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
