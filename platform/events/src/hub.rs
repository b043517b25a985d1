//! The live fan-out of one process: reads each new event of the log once and hands it to everybody
//! who is joined. Not for durability: who falls behind or comes back reads the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernel::{Result, TenantId};
use store::{EventRow, Store};
use tokio::sync::broadcast;

/// How many events a tenant's readers may be behind.
const BEHIND: usize = 256;
/// How many events are read at a time.
const PAGE: u64 = 512;
/// How often the log is looked at when nobody rings.
const LOOK: Duration = Duration::from_millis(250);

/// An event on its way to those who are joined.
#[derive(Debug)]
pub struct Published {
    /// Its place in the log.
    pub position: i64,
    /// The event.
    pub event: EventRow,
}

/// The reader was too slow: what it missed is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged;

/// The live fan-out of this process. Cloning it is cheap.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    epoch: String,
    topics: Mutex<Topics>,
}

struct Topics {
    /// Everything up to here has been handed out.
    position: i64,
    tenants: HashMap<TenantId, broadcast::Sender<Arc<Published>>>,
    all: broadcast::Sender<Arc<Published>>,
}

/// The events after [`Feed::from`], as they come.
pub struct Feed {
    /// Everything up to here is in the log; everything after comes through the feed.
    pub from: i64,
    events: broadcast::Receiver<Arc<Published>>,
}

impl Hub {
    /// Starts to read the log at its end.
    pub async fn start(store: &Store) -> Result<Self> {
        let state = store::log_state(store).await?;
        let topics = Topics { position: state.last, tenants: HashMap::new(), all: broadcast::Sender::new(BEHIND) };
        let hub = Self(Arc::new(Inner { epoch: state.epoch, topics: Mutex::new(topics) }));
        let (reader, store) = (Arc::downgrade(&hub.0), store.clone());
        tokio::spawn(async move {
            let mut rung = store.readable();
            while let Some(inner) = reader.upgrade() {
                let read = Self(inner).read(&store).await;
                if let Err(error) = &read {
                    tracing::warn!(error = %error, "live streams wait: the log cannot be read");
                }
                if !matches!(read, Ok(true)) {
                    let _ = tokio::time::timeout(LOOK, rung.changed()).await;
                }
            }
        });
        Ok(hub)
    }

    /// Returns which log the positions are of.
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// Joins the events of one tenant, or of all.
    pub fn join(&self, tenant: Option<TenantId>) -> Feed {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let events = match tenant {
            Some(tenant) => {
                topics.tenants.entry(tenant).or_insert_with(|| broadcast::Sender::new(BEHIND)).subscribe()
            }
            None => topics.all.subscribe(),
        };
        Feed { from: topics.position, events }
    }

    /// Reads what is new and hands it out; says whether there may be more.
    async fn read(&self, store: &Store) -> Result<bool> {
        let after = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner).position;
        let rows = store::events_after(store, after, None, PAGE).await?;
        let more = rows.len() as u64 == PAGE;
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        for event in rows {
            let position = event.position.unwrap_or_default();
            let tenant = event.tenant_id;
            let published = Arc::new(Published { position, event });
            topics.position = position;
            let _ = topics.all.send(published.clone());
            if let Some(topic) = topics.tenants.get(&tenant)
                && topic.send(published).is_err()
            {
                topics.tenants.remove(&tenant);
            }
        }
        Ok(more)
    }
}

impl Feed {
    /// Waits for the next event; nothing means that the process is stopping.
    pub async fn next(&mut self) -> Result<Option<Arc<Published>>, Lagged> {
        match self.events.recv().await {
            Ok(published) => Ok(Some(published)),
            Err(broadcast::error::RecvError::Lagged(_)) => Err(Lagged),
            Err(broadcast::error::RecvError::Closed) => Ok(None),
        }
    }
}
