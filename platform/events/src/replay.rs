//! Going back in the log at an operator's word: marks and cursors go back together, under a new
//! generation, so that whoever read before is too late. Not for what failed: see `park`.

use std::collections::HashSet;

use kernel::{Error, Id, Result, TenantId};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _};
use store::{Purpose, Store, System};

use crate::operate::{SINK, mark, unknown};
use crate::subscription::Subscription;
use crate::tables::{cursor, mark, parked};

/// What a replay does, or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayReport {
    /// How many events are delivered again.
    pub events: u64,
    /// Up to here events may be missing, because their time was up.
    pub horizon: i64,
    /// Whether it was done, not only counted.
    pub done: bool,
}

/// Goes back to a position: what comes after it is delivered again, to all tenants or to one. With
/// `count_only` nothing changes.
pub async fn replay(
    store: &Store,
    known: &[Subscription],
    name: &str,
    from: i64,
    tenant: Option<TenantId>,
    count_only: bool,
) -> Result<ReplayReport> {
    let subscription = known.iter().find(|known| known.name == name);
    let sink = name.starts_with(SINK);
    if subscription.is_none() && !sink {
        return Err(unknown(name));
    }
    if subscription.is_some_and(|subscription| !subscription.replayable) {
        let message = format!("{name} does something that must not happen twice: it cannot be replayed");
        return Err(Error::conflict("events.not_replayable", message));
    }
    if sink && tenant.is_some() {
        let message = "a sink has one position for all tenants: leave the tenant out";
        return Err(Error::invalid("events.sink_has_no_tenants", message));
    }
    if from < 0 {
        return Err(Error::invalid("events.invalid_position", "a position is 0 or more: 0 means from the start"));
    }
    let kinds = subscription.and_then(|subscription| subscription.kinds.list());
    let events = store::count_events_after(store, tenant, from, kinds).await?;
    let horizon = store::log_state(store).await?.horizon;
    if !count_only {
        go_back(store, name, from, tenant, !sink).await?;
        store.ring();
    }
    Ok(ReplayReport { events, horizon, done: !count_only })
}

async fn go_back(store: &Store, name: &str, from: i64, tenant: Option<TenantId>, cursors: bool) -> Result<()> {
    let system = store.system(Purpose::Dispatch).await?;
    let Some(mark) = mark(&system, name).await? else { return Err(unknown(name)) };
    let generation = mark.generation + 1;
    let mut moved = Query::update()
        .table(mark::Entity)
        .value(mark::Column::Generation, generation)
        .value(mark::Column::UpdatedAt, system.now())
        .and_where(Expr::col(mark::Column::Name).eq(name))
        .and_where(Expr::col(mark::Column::Generation).eq(mark.generation))
        .take();
    if from < mark.position {
        moved.value(mark::Column::Position, from);
    }
    if system.execute(&moved).await? == 0 {
        return Err(Error::conflict("events.replay_met_another", "another replay began at this moment: try again"));
    }
    if !cursors {
        return system.commit().await;
    }
    // What was set aside and comes again would be there twice. It comes again only where the cursor went
    // back: a tenant that had not come so far is not waited for, and may set something aside meanwhile.
    let went_back = Query::select()
        .column(cursor::Column::TenantId)
        .from(cursor::Entity)
        .and_where(Expr::col(cursor::Column::Subscription).eq(name))
        .and_where(Expr::col(cursor::Column::Generation).eq(generation))
        .take();
    let gone = Query::delete()
        .from_table(parked::Entity)
        .and_where(Expr::col(parked::Column::Subscription).eq(name))
        .and_where(Expr::col(parked::Column::Position).gt(from))
        .and_where(Expr::col(parked::Column::TenantId).in_subquery(went_back))
        .take();
    let mut back = Query::update()
        .table(cursor::Entity)
        .value(cursor::Column::Position, from)
        .value(cursor::Column::Generation, generation)
        .and_where(Expr::col(cursor::Column::Subscription).eq(name))
        .and_where(Expr::col(cursor::Column::Position).gt(from))
        .take();
    if let Some(tenant) = tenant {
        back.and_where(Expr::col(cursor::Column::TenantId).eq(tenant));
    }
    // The cursors first: each that goes back waits for what is under way, which may set something aside.
    system.execute(&back).await?;
    system.execute(&gone).await?;
    add_cursors(&system, name, from, generation, tenant, mark.position).await?;
    system.commit().await
}

/// Gives a cursor to the tenants that have none, so that one who is behind the times cannot start one.
async fn add_cursors(
    system: &System,
    name: &str,
    from: i64,
    generation: i64,
    tenant: Option<TenantId>,
    reached: i64,
) -> Result<()> {
    let mut all = Query::select().column("id").from("tenant").take();
    if let Some(tenant) = tenant {
        all.and_where(Expr::col("id").eq(tenant));
    }
    let there = cursor::Entity::find().filter(cursor::Column::Subscription.eq(name));
    let there: HashSet<TenantId> = system.all(there).await?.into_iter().map(|cursor| cursor.tenant_id).collect();
    for row in system.rows(&all).await? {
        let tenant_id: TenantId = row.try_get_by_index(0).map_err(store::from_database)?;
        if there.contains(&tenant_id) {
            continue;
        }
        let row = cursor::Model {
            tenant_id,
            id: Id::new(),
            subscription: name.to_owned(),
            position: Ord::min(from, reached),
            generation,
            created_at: system.now(),
            created_by: "system".to_owned(),
        };
        system.insert(row.into_active_model().reset_all()).await?;
    }
    Ok(())
}
