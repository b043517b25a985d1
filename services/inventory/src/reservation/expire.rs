//! Gives back what reservations hold whose time is up: at once where somebody would be refused for it, and
//! every minute for the rest. Not for releasing one by hand.

use futures_util::future::BoxFuture;
use kernel::{Answer, PermissionSet, Result, TenantId, Timestamp};
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, Condition, EntityTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _};
use store::{Purpose, Reader, Store, Writer};
use tasks::Scheduled;

use super::{ActiveModel, Column, EXPIRED, Entity, Model, OPEN, RELEASED, held};
use crate::item::{self, ItemId};

/// How many reservations of an item end in one transaction.
const AT_ONCE: u64 = 500;

/// Gives back what expired reservations of the item hold, and says whether there were any; the item's
/// version is one higher then. The caller holds the item's row.
pub(crate) async fn release_expired(writer: &mut Writer<'_>, item: ItemId) -> Result<bool> {
    let due = Column::ExpiresAt.lte(writer.now());
    end(writer, item, Condition::all().add(due), EXPIRED).await
}

/// Gives back what all reservations of the item hold, for an item that is deleted with them. The caller
/// holds the item's row.
pub(crate) async fn release_open(writer: &mut Writer<'_>, item: ItemId) -> Result<bool> {
    while end(writer, item, Condition::all(), RELEASED).await? {}
    Ok(true)
}

async fn end(writer: &mut Writer<'_>, item: ItemId, which: Condition, state: &'static str) -> Result<bool> {
    let open = writer.select::<Entity>().filter(Column::ItemId.eq(item)).filter(Column::State.eq(OPEN));
    let rows = open.filter(which.clone()).limit(AT_ONCE).all().await?;
    let mut freed = 0;
    for row in rows {
        let ended_at = if state == EXPIRED { row.expires_at } else { writer.now() };
        let ended = ActiveModel { state: Set(state.to_owned()), ended_at: Set(Some(ended_at)), ..Default::default() };
        // Somebody may have extended it since it was read.
        let still = which.clone().add(Column::State.eq(OPEN));
        let change = writer.change::<Entity>(row.id).set_row(ended).guard(still);
        if change.run_if(state).await?.is_some() {
            freed += row.quantity.0;
        }
    }
    if freed == 0 {
        return Ok(false);
    }
    let changed = held::change(writer, item, -freed).await?;
    if changed.is_none() {
        // The caller holds a live item, which has at least as much reserved as its reservations hold.
        writer.spoil();
        tracing::error!(item.id = %item, freed, "an item has less reserved than its reservations hold");
    }
    Ok(changed.is_some())
}

/// Returns how much of the item expired reservations still seem to hold.
pub(crate) async fn held_by_expired(reader: &Reader<'_>, item: ItemId, now: Timestamp) -> Result<i64> {
    let open = reader.select::<Entity>().filter(Column::ItemId.eq(item)).filter(Column::State.eq(OPEN));
    let expired = open.filter(Column::ExpiresAt.lte(now)).limit(10_000).all().await?;
    Ok(expired.iter().map(|row| row.quantity.0).sum())
}

/// Ends what has expired, for all tenants.
pub(crate) struct Sweep;

impl Scheduled for Sweep {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut after = None;
            loop {
                let page = expired(store, after).await?;
                let Some(last) = page.last() else { return Ok(()) };
                after = Some((last.expires_at, last.id));
                let mut items: Vec<(TenantId, ItemId)> = page.iter().map(|row| (row.tenant_id, row.item_id)).collect();
                items.sort_unstable();
                items.dedup();
                for (tenant, item) in items {
                    sweep_item(store, tenant, item).await?;
                }
            }
        })
    }
}

async fn sweep_item(store: &Store, tenant: TenantId, item: ItemId) -> Result<()> {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    // A deleted item keeps its reservations until it is back: nobody can use them meanwhile.
    let held = writer.select::<item::Entity>().id(item).lock().one().await?;
    if held.is_some() && release_expired(&mut writer, item).await? {
        writer.commit(Answer::no_content()).await?;
        return Ok(());
    }
    writer.roll_back().await
}

/// Returns the next reservations whose time is up, of whatever tenant.
async fn expired(store: &Store, after: Option<(Timestamp, super::ReservationId)>) -> Result<Vec<Model>> {
    let system = store.system_read(Purpose::Housekeeping).await?;
    let mut select = Entity::find()
        .filter(Column::State.eq(OPEN))
        .filter(Column::ExpiresAt.lte(system.now()))
        .order_by_asc(Column::ExpiresAt)
        .order_by_asc(Column::Id)
        .limit(AT_ONCE);
    if let Some((at, id)) = after {
        let beyond = Column::ExpiresAt.gt(at).or(Column::ExpiresAt.eq(at).and(Column::Id.gt(id)));
        select = select.filter(Column::ExpiresAt.gte(at)).filter(beyond);
    }
    let rows = system.all(select).await?;
    system.close().await?;
    Ok(rows)
}
