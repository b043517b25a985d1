//! Reading the event log across tenants, as the dispatcher and live streams do, and thinning it out.
//! Not for requests: a caller reads its own tenant's events through a Reader.

use kernel::{Error, Result, TenantId, Timestamp};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};

use crate::event::{Column, Entity, Model};
use crate::failure::from_database;
use crate::listen::order;
use crate::system::Purpose;
use crate::{Store, Writer};

/// Which log this is, and from where to where it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Changes when a copy or a backup takes the log's place: positions of another epoch mean nothing.
    pub epoch: String,
    /// Up to here some events have been removed, because their time was up.
    pub horizon: i64,
    /// The position of the last event.
    pub last: i64,
}

/// Returns which log this is.
pub async fn log_state(store: &Store) -> Result<LogState> {
    let order = order(store);
    let system = store.system_read(Purpose::Dispatch).await?;
    let select =
        Query::select().columns([Alias::new("epoch"), Alias::new("horizon")]).from(Alias::new("event_position")).take();
    let rows = system.rows(&select).await?;
    let newest = Entity::find().select_only().column(order).filter(order.is_not_null()).order_by_desc(order).limit(1);
    let newest = system.rows(&newest.into_query()).await?;
    system.close().await?;
    let row = rows.first().ok_or_else(|| Error::internal("event_position has lost its row"))?;
    let horizon: i64 = row.try_get_by_index(1).map_err(from_database)?;
    let last = newest.first().map(|row| row.try_get_by_index::<i64>(0)).transpose().map_err(from_database)?;
    Ok(LogState {
        epoch: row.try_get_by_index(0).map_err(from_database)?,
        horizon,
        last: Ord::max(last.unwrap_or(0), horizon),
    })
}

/// Returns the query for events after a position, of one tenant or of all, of these types only or of
/// all, and the column that says their order. A tenant's index is by position on both engines.
fn after(
    store: &Store,
    tenant: Option<TenantId>,
    position: i64,
    kinds: Option<&[&str]>,
) -> (Column, sea_orm::Select<Entity>) {
    let order = if tenant.is_some() { Column::Position } else { order(store) };
    let mut select = Entity::find().filter(order.gt(position));
    if let Some(tenant) = tenant {
        select = select.filter(Column::TenantId.eq(tenant));
    }
    if let Some(kinds) = kinds {
        select = select.filter(Column::Kind.is_in(kinds.iter().copied()));
    }
    (order, select)
}

async fn read_after(
    store: &Store,
    tenant: Option<TenantId>,
    position: i64,
    kinds: Option<&[&str]>,
    limit: u64,
) -> Result<Vec<Model>> {
    let (order, select) = after(store, tenant, position, kinds);
    let system = store.system_read(Purpose::Dispatch).await?;
    let rows = system.all(select.order_by_asc(order).limit(limit)).await?;
    system.close().await?;
    Ok(rows)
}

/// Returns the events of all tenants after a position, oldest first; of these types only, or of all.
pub async fn events_after(store: &Store, position: i64, kinds: Option<&[&str]>, limit: u64) -> Result<Vec<Model>> {
    read_after(store, None, position, kinds, limit).await
}

/// Returns the events of one tenant after a position, oldest first; of these types only, or of all.
pub async fn tenant_events_after(
    store: &Store,
    tenant: TenantId,
    position: i64,
    kinds: Option<&[&str]>,
    limit: u64,
) -> Result<Vec<Model>> {
    read_after(store, Some(tenant), position, kinds, limit).await
}

/// Counts the events after a position, of one tenant or of all, of these types only or of all.
pub async fn count_events_after(
    store: &Store,
    tenant: Option<TenantId>,
    position: i64,
    kinds: Option<&[&str]>,
) -> Result<u64> {
    let (_, select) = after(store, tenant, position, kinds);
    let select = select.select_only().column_as(Column::Seq.count(), "events");
    let system = store.system_read(Purpose::Dispatch).await?;
    let rows = system.rows(&select.into_query()).await?;
    system.close().await?;
    let count = rows.first().map(|row| row.try_get_by_index::<i64>(0)).transpose().map_err(from_database)?;
    Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
}

impl Writer<'_> {
    /// Says that an event caused what follows: what is recorded belongs to its chain of requests.
    pub fn follow(&mut self, event: &Model) {
        self.stamp.correlation_id.clone_from(&event.correlation_id);
    }
}

/// Removes at most `limit` events of one type that happened before a moment and are no newer than a
/// position that every subscriber has passed; says how many there were.
pub async fn purge_events(store: &Store, kind: &str, before: Timestamp, passed: i64, limit: u64) -> Result<u64> {
    let order = order(store);
    let system = store.system(Purpose::Housekeeping).await?;
    let select = Entity::find()
        .select_only()
        .columns([Column::Seq, order])
        .filter(Column::Kind.eq(kind))
        .filter(Column::OccurredAt.lt(before))
        .filter(order.lte(passed))
        .order_by_asc(order)
        .limit(limit);
    let rows = system.rows(&select.into_query()).await?;
    let pair = |row: &sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    let old: Vec<(i64, i64)> = rows.iter().map(pair).collect::<Result<_, sea_orm::DbErr>>().map_err(from_database)?;
    let Some(horizon) = old.iter().map(|(_, position)| *position).max() else {
        system.close().await?;
        return Ok(0);
    };
    let delete = Query::delete()
        .from_table(Alias::new("event_log"))
        .and_where(Expr::col(Alias::new("seq")).is_in(old.iter().map(|(seq, _)| *seq)))
        .take();
    let removed = system.execute(&delete).await?;
    let moved = Query::update()
        .table(Alias::new("event_position"))
        .value(Alias::new("horizon"), horizon)
        .and_where(Expr::col(Alias::new("horizon")).lt(horizon))
        .take();
    system.execute(&moved).await?;
    system.commit().await?;
    Ok(removed)
}
