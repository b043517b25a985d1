//! The event log: what changed, for whom, by whom, in one order (decision 0003). The Writer
//! appends; this module holds the row, the appending statement and reading by position. Not for
//! delivery: consumers stand on [`Reader::events_after`].

use kernel::{Ctx, Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Alias, Query};
use sea_orm::{QueryOrder, QuerySelect};

use crate::reader::Reader;

/// Marks the ids of events.
#[derive(Debug)]
pub struct EventKind;
impl IdKind for EventKind {
    const PREFIX: &'static str = "evt";
}

/// One event in the log.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event_log")]
pub struct Model {
    /// The order of insertion; on PostgreSQL not the order of commits.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// The order that readers see; on PostgreSQL given by the relay after commit.
    pub position: Option<i64>,
    /// The event's id.
    pub id: Id<EventKind>,
    /// Whose event it is.
    pub tenant_id: TenantId,
    /// Its type, such as `inventory.item.adjusted`.
    pub kind: String,
    /// The id of what changed.
    pub subject: String,
    /// The version of what changed, after the change; 0 for what has none.
    pub subject_version: i64,
    /// Who did it.
    pub actor: String,
    /// The request that did it.
    pub request_id: String,
    /// The chain of requests that it belongs to.
    pub correlation_id: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What is known of it, as JSON text.
    pub data: String,
    /// Why, where somebody had to say it: a superadmin in a tenant.
    pub reason: Option<String>,
}

/// No relations: the log stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An event that a Writer appends beside a change.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its type, such as `inventory.item.adjusted`.
    pub kind: String,
    /// The id of what changed, as text.
    pub subject: String,
    /// The version after the change; 0 for what has none.
    pub version: i64,
    /// What is known of it.
    pub data: serde_json::Value,
}

impl Event {
    /// Returns an event about something that has no row of its own, such as an export.
    pub fn about(kind: impl Into<String>, subject: impl ToString, data: serde_json::Value) -> Self {
        Self { kind: kind.into(), subject: subject.to_string(), version: 0, data }
    }
}

/// Who and what an event row records beside the event itself.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub tenant: TenantId,
    pub actor: String,
    pub request_id: String,
    pub correlation_id: String,
    pub reason: Option<String>,
    pub now: Timestamp,
}

impl Stamp {
    pub(crate) fn of(ctx: &Ctx, now: Timestamp) -> Self {
        Self {
            tenant: ctx.tenant(),
            actor: ctx.actor().to_string(),
            request_id: ctx.request_id().as_str().to_owned(),
            correlation_id: ctx.correlation_id().as_str().to_owned(),
            reason: ctx.reason().map(str::to_owned),
            now,
        }
    }
}

/// Returns the statement that appends the event; the position is the engine's or the relay's.
pub(crate) fn append(id: Id<EventKind>, event: &Event, stamp: &Stamp) -> sea_orm::sea_query::InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(Alias::new("event_log")).columns([
        Column::Id,
        Column::TenantId,
        Column::Kind,
        Column::Subject,
        Column::SubjectVersion,
        Column::Actor,
        Column::RequestId,
        Column::CorrelationId,
        Column::OccurredAt,
        Column::Data,
        Column::Reason,
    ]);
    insert.values_panic([
        id.into(),
        stamp.tenant.into(),
        event.kind.clone().into(),
        event.subject.clone().into(),
        event.version.into(),
        stamp.actor.clone().into(),
        stamp.request_id.clone().into(),
        stamp.correlation_id.clone().into(),
        stamp.now.into(),
        event.data.to_string().into(),
        stamp.reason.clone().into(),
    ]);
    insert
}

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only these types; an empty list means none.
    pub kinds: Vec<&'static str>,
    /// Only events about this.
    pub subject: Option<String>,
}

impl Reader<'_> {
    /// Returns the tenant's events after this position, oldest first.
    pub async fn events_after(&self, position: i64, filter: &EventFilter, limit: u64) -> Result<Vec<Model>> {
        let mut select = Entity::find()
            .filter(Column::Position.gt(position))
            .filter(Column::Kind.is_in(filter.kinds.iter().copied()))
            .order_by_asc(Column::Position)
            .limit(limit);
        if self.filtered {
            select = select.filter(Column::TenantId.eq(self.tenant));
        }
        if let Some(subject) = &filter.subject {
            select = select.filter(Column::Subject.eq(subject.as_str()));
        }
        let lent = self.session.lend().await?;
        let result = select.all(&*lent).await;
        lent.check(result)
    }
}
