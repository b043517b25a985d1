//! Finds reservations whose lease has ended although nobody said how the call ended, and enters them as used. Not for
//! what that means: see `settle`.

use futures_util::future::BoxFuture;
use kernel::{Result, Timestamp};
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use store::{Purpose, Store};
use tasks::Scheduled;

use crate::record::{Column, Entity, Model, RecordId, State};
use crate::settle;

/// How many are looked up at once.
const BATCH: u64 = 500;

/// Enters what nobody has settled in time.
pub(crate) struct Lapse;

impl Scheduled for Lapse {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut after = None;
            loop {
                let page = late(store, after).await?;
                let Some(last) = page.last() else { return Ok(()) };
                after = Some((last.lease_ends, last.id));
                for row in page {
                    // One that does not go keeps no other from going; the next minute tries again.
                    if let Err(error) = settle::lapse(store, row.tenant_id, row.id).await {
                        tracing::warn!(error = %error, "a reservation whose lease has ended could not be entered");
                    }
                }
            }
        })
    }
}

async fn late(store: &Store, after: Option<(Timestamp, RecordId)>) -> Result<Vec<Model>> {
    let system = store.system_read(Purpose::Housekeeping).await?;
    let mut select = Entity::find()
        .filter(Column::State.eq(State::Reserved))
        .filter(Column::LeaseEnds.lte(system.now()))
        .order_by_asc(Column::LeaseEnds)
        .order_by_asc(Column::Id)
        .limit(BATCH);
    if let Some((ends, id)) = after {
        let beyond = Column::LeaseEnds.gt(ends).or(Column::LeaseEnds.eq(ends).and(Column::Id.gt(id)));
        // The plain bound is for the index.
        select = select.filter(Column::LeaseEnds.gte(ends)).filter(beyond);
    }
    let rows = system.all(select).await?;
    system.close().await?;
    Ok(rows)
}
