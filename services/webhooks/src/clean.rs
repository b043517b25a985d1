//! Keeps the log of deliveries short, and queues again what has lost its place in the queue. Not for
//! deliveries that are on their way.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Answer, PermissionSet, Result};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use store::{Purpose, Store};
use tasks::Scheduled;

use crate::delivery::State;
use crate::state::Webhooks;
use crate::{attempt, delivery, message, queue};

/// How many rows go in one transaction.
const BATCH: u64 = 500;
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
    let attempts = attempt::Entity::delete_many().filter(attempt::Column::DeliveryId.is_in(ids.iter().copied()));
    system.execute(attempts.as_query()).await?;
    let deliveries = delivery::Entity::delete_many().filter(delivery::Column::Id.is_in(ids.iter().copied()));
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
            let system = store.system_read(Purpose::Housekeeping).await?;
            let due = system.now().minus(FORGOTTEN);
            let select = delivery::Entity::find()
                .filter(delivery::Column::State.eq(State::Pending.name()))
                .filter(delivery::Column::NextAt.lt(due))
                .order_by_asc(delivery::Column::NextAt)
                .limit(BATCH);
            let forgotten = system.all(select).await?;
            system.close().await?;
            for row in forgotten {
                let mut ctx = store::system_context(row.tenant_id, PermissionSet::default());
                let mut writer = store.write(&mut ctx).await?;
                queue::enqueue(&mut writer, &row, None).await?;
                writer.commit(Answer::no_content()).await?;
            }
            Ok(())
        })
    }
}
