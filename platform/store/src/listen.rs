//! Says what was committed, in this process, before the commit returns: whoever revokes something
//! and then answers can rely on it that this process has heard. What other processes committed is
//! read from the log, of all tenants, under the relay's purpose. Not
//! for work: a listener is called on the path of every commit and only takes a note.

use std::sync::{Arc, PoisonError, RwLock};

use kernel::{Id, Result, TenantId};
use sea_orm::{
    ColumnTrait as _, Condition, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QueryResult,
    QuerySelect as _, QueryTrait as _,
};

use crate::event::{Column, Entity, EventKind};
use tokio::sync::watch;

use crate::failure::from_database;
use crate::system::Purpose;
use crate::{Engine, Store};

/// An event of a transaction that is on disk now, or that may be where the answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The event; nothing for what was only announced.
    pub id: Option<Id<EventKind>>,
    /// Whose event it is.
    pub tenant: TenantId,
    /// Its type.
    pub kind: String,
    /// The id of what changed.
    pub subject: String,
}

type Listener = Arc<dyn Fn(&[Committed]) + Send + Sync>;

/// Who wants to know.
#[derive(Clone)]
pub(crate) struct Listeners {
    listeners: Arc<RwLock<Vec<Listener>>>,
    /// Counts the transactions that appended or announced something.
    committed: watch::Sender<u64>,
    /// Counts the moments at which readers of the log may have something new to read.
    readable: watch::Sender<u64>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { listeners: Arc::default(), committed: watch::Sender::new(0), readable: watch::Sender::new(0) }
    }
}

impl Listeners {
    pub(crate) fn add(&self, listener: Listener) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    pub(crate) fn tell(&self, events: &[Committed]) {
        if events.is_empty() {
            return;
        }
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(events);
        }
        self.committed.send_modify(|count| *count += 1);
    }

    pub(crate) fn ring(&self) {
        self.readable.send_modify(|count| *count += 1);
    }

    pub(crate) fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    pub(crate) fn readable(&self) -> watch::Receiver<u64> {
        self.readable.subscribe()
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

/// Returns what was committed of these types after a position, by any process and for any tenant, and
/// the position to go on from. Nothing is left out; what the relay has not numbered yet may come again.
pub async fn committed_after(store: &Store, position: i64, kinds: &[&str]) -> Result<(i64, Vec<Committed>)> {
    let order = order(store);
    let system = store.system_read(Purpose::Relay).await?;
    let newest = Entity::find().select_only().column(order).filter(order.is_not_null());
    let newest = system.rows(&newest.order_by_desc(order).limit(1).into_query()).await?;
    let newest = match newest.first() {
        Some(row) => row.try_get_by_index(0).map_err(from_database)?,
        None => position,
    };
    let mut those = Condition::any().add(Condition::all().add(order.gt(position)).add(order.lte(newest)));
    if store.engine() == Engine::Postgres {
        // What the relay has not numbered yet is committed all the same.
        those = those.add(Column::Position.is_null());
    }
    let select = Entity::find()
        .select_only()
        .columns([Column::TenantId, Column::Kind, Column::Subject, Column::Id])
        .filter(those)
        .filter(Column::Kind.is_in(kinds.iter().copied()));
    let rows = system.rows(&select.into_query()).await?;
    system.close().await?;
    let event = |row: &QueryResult| -> Result<Committed, DbErr> {
        Ok(Committed {
            tenant: row.try_get_by_index(0)?,
            kind: row.try_get_by_index(1)?,
            subject: row.try_get_by_index(2)?,
            id: Some(row.try_get_by_index(3)?),
        })
    };
    let events = rows.iter().map(event).collect::<Result<_, _>>().map_err(from_database)?;
    Ok((newest.max(position), events))
}

/// SQLite derives the position from the sequence, which has the index.
pub(crate) fn order(store: &Store) -> Column {
    if store.engine() == Engine::Sqlite { Column::Seq } else { Column::Position }
}
