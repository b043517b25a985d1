//! Says what was committed, in this process, before the commit returns: whoever revokes something
//! and then answers can rely on it that this process has heard. What other processes committed is
//! read from the log, of all tenants, under the relay's purpose. Not
//! for work: a listener is called on the path of every commit and only takes a note.

use std::sync::{Arc, OnceLock};

use kernel::{Result, TenantId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use crate::event::{Column, Entity};
use crate::system::Purpose;
use crate::{Engine, Store};

/// An event of a transaction that is on disk now, or that may be where the answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Whose event it is.
    pub tenant: TenantId,
    /// Its type.
    pub kind: String,
    /// The id of what changed.
    pub subject: String,
}

type Listener = Arc<dyn Fn(&[Committed]) + Send + Sync>;

/// Who wants to know.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Arc<OnceLock<Listener>>);

impl Listeners {
    pub(crate) fn any(&self) -> bool {
        self.0.get().is_some()
    }

    pub(crate) fn set(&self, listener: Listener) -> bool {
        self.0.set(listener).is_ok()
    }

    pub(crate) fn tell(&self, events: &[Committed]) {
        if let Some(listener) = self.0.get().filter(|_| !events.is_empty()) {
            listener(events);
        }
    }
}

/// Returns the position of the last event in the log.
pub async fn last_position(store: &Store) -> Result<i64> {
    let order = order(store);
    let system = store.system_read(Purpose::Relay).await?;
    let last = system.one(Entity::find().filter(order.is_not_null()).order_by_desc(order).limit(1)).await?;
    system.close().await?;
    Ok(last.and_then(|row| row.position).unwrap_or(0))
}

/// Returns what was committed after a position, by any process and for any tenant, and the position
/// to go on from. Nothing is left out; what the relay has not numbered yet may come again.
pub async fn committed_after(store: &Store, position: i64, limit: u64) -> Result<(i64, Vec<Committed>)> {
    let order = order(store);
    let system = store.system_read(Purpose::Relay).await?;
    let select = Entity::find().filter(order.gt(position)).order_by_asc(order).limit(limit);
    let mut rows = system.all(select).await?;
    let next = rows.last().and_then(|row| row.position).unwrap_or(position);
    if store.engine() == Engine::Postgres {
        // What the relay has not numbered yet is committed all the same; it will come once more.
        let mut last = 0;
        loop {
            let waiting = Entity::find().filter(Column::Position.is_null()).filter(Column::Seq.gt(last));
            let page = system.all(waiting.order_by_asc(Column::Seq).limit(limit)).await?;
            last = page.last().map_or(last, |row| row.seq);
            let whole = (page.len() as u64) < limit;
            rows.extend(page);
            if whole {
                break;
            }
        }
    }
    system.close().await?;
    let events = rows.into_iter().map(|row| Committed { tenant: row.tenant_id, kind: row.kind, subject: row.subject });
    Ok((next, events.collect()))
}

/// SQLite derives the position from the sequence, which has the index.
fn order(store: &Store) -> Column {
    if store.engine() == Engine::Sqlite { Column::Seq } else { Column::Position }
}
