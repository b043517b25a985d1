//! Removes records that are old, and counters that have not counted anything for longer than their period. Days stay.
//! Not for reservations that are open.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Period, Result};
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use store::{Purpose, Store};
use tasks::Scheduled;

use crate::record::State;
use crate::{counter, record};

/// How many rows go in one transaction.
const BATCH: u64 = 500;
const DAY: u64 = 86_400;
/// How long records are kept.
const RECORDS: Duration = Duration::from_secs(400 * DAY);
/// How long a counter is kept that nobody touches: longer than a month, the longest period that ends.
const COUNTERS: Duration = Duration::from_secs(40 * DAY);

/// Removes what is no longer needed.
pub(crate) struct Clean;

impl Scheduled for Clean {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            while records(store).await? == BATCH {}
            while counters(store).await? == BATCH {}
            Ok(())
        })
    }
}

async fn records(store: &Store) -> Result<u64> {
    use record::{Column, Entity};
    let system = store.system(Purpose::Housekeeping).await?;
    let before = system.now().minus(RECORDS);
    let old = || Column::CreatedAt.lt(before).and(Column::State.ne(State::Reserved));
    let rows = system.all(Entity::find().filter(old()).order_by_asc(Column::CreatedAt).limit(BATCH)).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let delete = Entity::delete_many().filter(Column::Id.is_in(ids)).filter(old());
    system.execute(delete.as_query()).await?;
    system.commit().await?;
    Ok(rows.len() as u64)
}

async fn counters(store: &Store) -> Result<u64> {
    use counter::{Column, Entity};
    let system = store.system(Purpose::Housekeeping).await?;
    let before = system.now().minus(COUNTERS);
    let still = || Column::TouchedAt.lt(before).and(Column::Reserved.eq(0)).and(Column::Period.ne(Period::Total));
    let rows = system.all(Entity::find().filter(still()).order_by_asc(Column::TouchedAt).limit(BATCH)).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let delete = Entity::delete_many().filter(Column::Id.is_in(ids)).filter(still());
    system.execute(delete.as_query()).await?;
    system.commit().await?;
    Ok(rows.len() as u64)
}
