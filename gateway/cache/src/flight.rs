//! One fetch at a time for each answer: who comes second waits for the first, but not for long, and never because of
//! what became of it. Not for what is stored.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::body::Filling;
use crate::stored::Stored;

const SHARDS: usize = 32;
/// For how many requests it is remembered that their answers cannot be kept.
const UNFIT: usize = 16_384;

/// What became of a fetch, for those that wait.
#[derive(Clone)]
pub(crate) enum Landing {
    Pending,
    /// An answer, of which the body may still be coming.
    Ready(Arc<Stored>, Option<Arc<Filling>>),
    /// An answer that is for its own caller only.
    Alone,
    /// The origin failed.
    Failed,
    /// Whoever fetched has gone; somebody else must.
    Gone,
}

/// Where those that want an answer wait for it.
type Waiting = HashMap<Box<[u8]>, watch::Receiver<Landing>>;

/// Fetches under way.
pub(crate) struct Flights {
    shards: [Mutex<Waiting>; SHARDS],
    unfit: Cache<u64, i64>,
    hasher: RandomState,
}

/// What somebody who wants to fetch is to do.
pub(crate) enum Seat {
    Fetch(Leader),
    Wait(watch::Receiver<Landing>),
}

/// Whoever fetches for the others. Dropped before it has said anything, it is replaced by one of them.
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    sender: watch::Sender<Landing>,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), unfit: Cache::new(UNFIT), hasher: RandomState::new() }
    }

    /// Joins the fetch of this answer, or begins it.
    pub(crate) fn board(self: &Arc<Self>, key: Box<[u8]>) -> Seat {
        let mut shard = self.shard(&key);
        if let Some(receiver) = shard.get(&key) {
            return Seat::Wait(receiver.clone());
        }
        let (sender, receiver) = watch::channel(Landing::Pending);
        shard.insert(key.clone(), receiver);
        Seat::Fetch(Leader { flights: self.clone(), key, sender })
    }

    /// Remembers that answers to this request cannot be kept.
    pub(crate) fn mark_unfit(&self, key: &[u8], until: Timestamp) {
        self.unfit.insert(self.hasher.hash_one(key), until.0);
    }

    /// Says whether nobody should wait for an answer to this request.
    pub(crate) fn is_unfit(&self, key: &[u8], now: Timestamp) -> bool {
        self.unfit.get(&self.hasher.hash_one(key)).is_some_and(|until| now.0 < until)
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Waiting> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// Tells those that wait, and those that come until this is dropped.
    pub(crate) fn land(&self, landing: Landing) {
        self.sender.send_replace(landing);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flights.shard(&self.key).remove(&self.key);
        self.sender.send_if_modified(|landing| {
            let pending = matches!(landing, Landing::Pending);
            if pending {
                *landing = Landing::Gone;
            }
            pending
        });
    }
}

/// Waits for a landing, at most so long.
pub(crate) async fn wait(receiver: &mut watch::Receiver<Landing>, most: Duration) -> Option<Landing> {
    let landed = receiver.wait_for(|landing| !matches!(landing, Landing::Pending));
    match tokio::time::timeout(most, landed).await {
        Ok(Ok(landing)) => Some(landing.clone()),
        Ok(Err(_)) => Some(Landing::Gone),
        Err(_) => None,
    }
}
