//! The live fan-out of one process: reads each new event of the log once, writes it once, and hands
//! it to everybody who is joined. Not for durability: who falls behind or comes back reads the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::{Result, TenantId};
use store::{EventRow, Store};
use tokio::sync::broadcast;

use crate::published::Published;

/// How many events a tenant's readers may be behind.
const BEHIND: usize = 256;
/// How many events are read at a time: more than readers may be behind would make all of them lag.
const PAGE: u64 = BEHIND as u64 / 2;
/// How often the log is looked at when nobody rings.
const LOOK: Duration = Duration::from_millis(250);
/// From how many tenants on those are looked for that nobody listens to any more.
const SWEEP: usize = 64;

/// The reader was too slow: what it missed is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged;

/// The live fan-out of this process. Cloning it is cheap.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    epoch: Arc<str>,
    topics: Mutex<Topics>,
}

type Topic = broadcast::Sender<Arc<Published>>;

struct Topics {
    /// Everything up to here has been handed out.
    position: i64,
    tenants: HashMap<TenantId, Topic>,
    all: Topic,
    /// At how many tenants the next sweep is due.
    sweep_at: usize,
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
        let topics = Topics {
            position: state.last,
            tenants: HashMap::new(),
            all: broadcast::Sender::new(BEHIND),
            sweep_at: SWEEP,
        };
        let hub = Self(Arc::new(Inner { epoch: state.epoch.into(), topics: Mutex::new(topics) }));
        let (reader, store) = (Arc::downgrade(&hub.0), store.clone());
        tokio::spawn(async move {
            let (mut rung, mut away, mut due, mut glance) = (store.readable(), false, true, store.glance());
            while let Some(inner) = reader.upgrade() {
                // Asked always, for it remembers.
                if !(glance.may_have_changed() | due) {
                    drop(inner);
                    due = tokio::time::timeout(LOOK, rung.changed()).await.is_ok();
                    continue;
                }
                let read = Self(inner).read(&store).await;
                match &read {
                    Err(error) if !away => tracing::warn!(error = %error, "live streams wait: the log cannot be read"),
                    _ => {}
                }
                away = read.is_err();
                due = match read {
                    // Who listens takes what was handed out before more comes.
                    Ok(true) => {
                        tokio::task::yield_now().await;
                        true
                    }
                    _ => tokio::time::timeout(LOOK, rung.changed()).await.is_ok() || away,
                };
            }
        });
        Ok(hub)
    }

    /// Returns which log the positions are of.
    pub fn epoch(&self) -> &Arc<str> {
        &self.0.epoch
    }

    /// Joins the events of one tenant, or of all.
    pub fn join(&self, tenant: Option<TenantId>) -> Feed {
        let mut topics = self.topics();
        let events = match tenant {
            Some(tenant) => {
                topics.sweep();
                topics.tenants.entry(tenant).or_insert_with(|| broadcast::Sender::new(BEHIND)).subscribe()
            }
            None => topics.all.subscribe(),
        };
        Feed { from: topics.position, events }
    }

    /// Returns up to where a feed has given all that there was; nothing while it holds events that were
    /// not taken yet.
    pub fn reached(&self, feed: &Feed) -> Option<i64> {
        let topics = self.topics();
        feed.events.is_empty().then_some(topics.position)
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new and hands it out; says whether there may be more.
    async fn read(&self, store: &Store) -> Result<bool> {
        if !self.topics().is_heard() {
            let last = store::last_position(store).await?;
            let mut topics = self.topics();
            // Whoever joined meanwhile was promised everything after the old position.
            if !topics.is_heard() {
                topics.position = topics.position.max(last);
                return Ok(false);
            }
        }
        let after = self.topics().position;
        let rows = store::events_after(store, after, None, PAGE).await?;
        let more = rows.len() as u64 == PAGE;
        self.publish(rows);
        Ok(more)
    }

    fn publish(&self, rows: Vec<EventRow>) {
        let mut topics = self.topics();
        for event in rows {
            let tenant = event.tenant_id;
            let published = Arc::new(Published::new(self.0.epoch.clone(), event));
            topics.position = published.position;
            let _ = topics.all.send(published.clone());
            if let Some(topic) = topics.tenants.get(&tenant)
                && topic.send(published).is_err()
            {
                topics.tenants.remove(&tenant);
            }
        }
    }
}

impl Topics {
    /// Says whether anybody is joined.
    fn is_heard(&self) -> bool {
        self.all.receiver_count() > 0 || self.tenants.values().any(|topic| topic.receiver_count() > 0)
    }

    /// Forgets tenants that nobody listens to, whenever they may have become half of all.
    fn sweep(&mut self) {
        if self.tenants.len() >= self.sweep_at {
            self.tenants.retain(|_, topic| topic.receiver_count() > 0);
            self.sweep_at = SWEEP.max(self.tenants.len() * 2);
        }
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
