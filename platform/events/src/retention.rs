//! Removes events whose time is up, but never one that a subscription or a sink has not had, nor one
//! that was set aside. Not for deciding how long: each type says that.

use std::time::Duration;

use kernel::Result;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select};
use store::{Purpose, Store};

use crate::tables::{mark, parked};

/// How many events are removed in one transaction.
const BATCH: u64 = 500;
/// How many such transactions one run makes for a type; the rest waits for the next run.
const BATCHES: usize = 200;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Removes the events of these types that are older than so many days; says how many there were.
pub async fn remove_expired(store: &Store, kinds: &[(&str, u32)]) -> Result<u64> {
    let mut removed = 0;
    for (kind, days) in kinds {
        let before = store.clock().now().minus(DAY.saturating_mul(*days));
        for _ in 0..BATCHES {
            let passed = passed(store, kind).await?;
            let batch = store::purge_events(store, kind, before, passed, BATCH).await?;
            removed += batch;
            if batch < BATCH {
                break;
            }
            // Removing is never urgent; others get their turn at the database.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    warn_of_a_mark_that_stands(store, kinds).await?;
    Ok(removed)
}

/// Tells the log when events whose time is up stay because of one that has not moved for a day.
async fn warn_of_a_mark_that_stands(store: &Store, kinds: &[(&str, u32)]) -> Result<()> {
    let now = store.clock().now();
    let system = store.system_read(Purpose::Housekeeping).await?;
    let lowest = system.one(lowest_mark()).await?;
    system.close().await?;
    let Some(mark) = lowest.filter(|mark| mark.updated_at < now.minus(DAY)) else { return Ok(()) };
    for (kind, days) in kinds {
        let kept = store::events_after(store, mark.position, Some(&[kind]), 1).await?;
        if kept.first().is_some_and(|event| event.occurred_at < now.minus(DAY.saturating_mul(*days))) {
            tracing::warn!(
                subscription = mark.name, event.position = mark.position, since = %mark.updated_at,
                "events whose time is up are kept for a subscription that has not moved for a day: if portico \
                 events list says that it is not in use, portico events forget lets them go"
            );
            return Ok(());
        }
    }
    Ok(())
}

fn lowest_mark() -> Select<mark::Entity> {
    mark::Entity::find().order_by_asc(mark::Column::Position).limit(1)
}

/// Returns up to where nobody needs events of this type any more.
async fn passed(store: &Store, kind: &str) -> Result<i64> {
    let last = store::log_state(store).await?.last;
    let first =
        parked::Entity::find().filter(parked::Column::Kind.eq(kind)).order_by_asc(parked::Column::Position).limit(1);
    let system = store.system_read(Purpose::Housekeeping).await?;
    let (lowest, first) = (system.one(lowest_mark()).await?, system.one(first).await?);
    system.close().await?;
    let floors = lowest.map(|mark| mark.position).into_iter().chain(first.map(|first| first.position - 1));
    Ok(floors.fold(last, i64::min))
}
