//! Keeps the log of deliveries short, and queues again what has lost its place in the queue. Not for
//! deliveries that are on their way.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Answer, PermissionSet, Result, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use store::{Purpose, Store};
use tasks::Scheduled;

use crate::delivery::{DeliveryId, State};
use crate::state::Webhooks;
use crate::{attempt, delivery, message, queue};

/// How many rows go in one transaction.
const BATCH: u64 = 500;
/// How many deliveries are looked up in the queue in one transaction.
const WRITTEN: usize = 50;
/// How long a delivery may be due before it counts as forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// Removes deliveries that ended long ago.
pub(crate) struct Clean(pub Webhooks);

impl Scheduled for Clean {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            while remove_deliveries(&self.0, store).await? == BATCH {}
            while remove_messages(&self.0, store).await? == BATCH {}
            Ok(())
        })
    }
}

async fn remove_deliveries(webhooks: &Webhooks, store: &Store) -> Result<u64> {
    let system = store.system(Purpose::Housekeeping).await?;
    let before = system.now().minus(webhooks.settings().kept());
    let old = delivery::Entity::find().filter(delivery::Column::EndedAt.lt(before)).limit(BATCH);
    let ids: Vec<_> = system.all(old).await?.into_iter().map(|row| row.id).collect();
    // One may have been sent again since it was read: what is on its way stays.
    let ended = || delivery::Column::Id.is_in(ids.iter().copied()).and(delivery::Column::EndedAt.lt(before));
    let still_old = delivery::Entity::find().select_only().column(delivery::Column::Id).filter(ended()).into_query();
    let attempts = attempt::Entity::delete_many().filter(attempt::Column::DeliveryId.in_subquery(still_old));
    system.execute(attempts.as_query()).await?;
    let deliveries = delivery::Entity::delete_many().filter(ended());
    system.execute(deliveries.as_query()).await?;
    system.commit().await?;
    Ok(ids.len() as u64)
}

/// A message goes when no delivery of it is left.
async fn remove_messages(webhooks: &Webhooks, store: &Store) -> Result<u64> {
    let system = store.system(Purpose::Housekeeping).await?;
    let before = system.now().minus(webhooks.settings().kept());
    let used = Query::select()
        .expr(Expr::val(1))
        .from(delivery::Entity)
        .and_where(
            Expr::col((delivery::Entity, delivery::Column::TenantId))
                .equals((message::Entity, message::Column::TenantId)),
        )
        .and_where(
            Expr::col((delivery::Entity, delivery::Column::MessageId)).equals((message::Entity, message::Column::Id)),
        )
        .take();
    let old = message::Entity::find()
        .filter(message::Column::CreatedAt.lt(before))
        .filter(Expr::exists(used).not())
        .limit(BATCH);
    let ids: Vec<_> = system.all(old).await?.into_iter().map(|row| row.id).collect();
    let messages = message::Entity::delete_many().filter(message::Column::Id.is_in(ids.iter().copied()));
    system.execute(messages.as_query()).await?;
    system.commit().await?;
    Ok(ids.len() as u64)
}

/// Queues deliveries again whose task is gone: it went to the dead letters, or an operator ended it.
pub(crate) struct Rescue;

impl Scheduled for Rescue {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut after = None;
            loop {
                let page = forgotten(store, after).await?;
                let Some(last) = page.last() else { return Ok(()) };
                after = last.next_at.map(|next| (next, last.id));
                // A Writer is held briefly, and by one tenant.
                let same = |one: &delivery::Model, next: &delivery::Model| one.tenant_id == next.tenant_id;
                for rows in page.chunk_by(same).flat_map(|rows| rows.chunks(WRITTEN)) {
                    let Some(tenant) = rows.first().map(|row| row.tenant_id) else { continue };
                    let mut ctx = store::system_context(tenant, PermissionSet::default());
                    let mut writer = store.write(&mut ctx).await?;
                    for row in rows {
                        queue::enqueue(&mut writer, row, None).await?;
                    }
                    writer.commit(Answer::no_content()).await?;
                }
            }
        })
    }
}

/// Returns the next deliveries that are long due. Most wait in the queue and are left alone, so it takes
/// all pages to find those that do not.
async fn forgotten(store: &Store, after: Option<(Timestamp, DeliveryId)>) -> Result<Vec<delivery::Model>> {
    use delivery::Column::{Id, NextAt};
    let system = store.system_read(Purpose::Housekeeping).await?;
    let due = system.now().minus(FORGOTTEN);
    let mut select = delivery::Entity::find()
        .filter(delivery::Column::State.eq(State::Pending.name()))
        .filter(NextAt.lt(due))
        .order_by_asc(NextAt)
        .order_by_asc(Id)
        .limit(BATCH);
    if let Some((next, id)) = after {
        let beyond = NextAt.gt(next).or(NextAt.eq(next).and(Id.gt(id)));
        // The plain bound is for the index.
        select = select.filter(NextAt.gte(next)).filter(beyond);
    }
    let rows = system.all(select).await?;
    system.close().await?;
    Ok(rows)
}
