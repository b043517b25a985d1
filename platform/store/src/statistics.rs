//! What the store has counted since it was opened, for the metrics page and for tests. Not for
//! decisions, with two exceptions: the lane asks how many wait for it, and a failure to get a
//! connection whether all are lent out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The counters of one open store. They only grow, unless a line says otherwise.
#[derive(Debug, Default)]
pub struct Statistics {
    committed: AtomicU64,
    aborted: AtomicU64,
    batches: AtomicU64,
    waiting: AtomicUsize,
    in_use: AtomicUsize,
}

impl Statistics {
    /// Returns how many writing transactions were committed.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Returns how many writing transactions were undone: on purpose, by a failure, or by the limit.
    pub fn aborted(&self) -> u64 {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Returns how many COMMITs the write lane has made; each is one sync of the SQLite file. Always
    /// 0 on PostgreSQL.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Returns how many writers wait for the write lane now; goes up and down, 0 on PostgreSQL.
    pub fn lane_waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Returns how many pooled connections are held by a transaction now; goes up and down.
    pub fn connections_in_use(&self) -> usize {
        self.in_use.load(Ordering::SeqCst)
    }

    pub(crate) fn count_end(&self, kept: bool) {
        let counter = if kept { &self.committed } else { &self.aborted };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_batch(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn queue(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn leave_queue(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A pooled connection that a transaction holds, as long as this lives.
pub(crate) struct InUse(Arc<Statistics>);

impl InUse {
    pub(crate) fn count(statistics: &Arc<Statistics>) -> Self {
        statistics.in_use.fetch_add(1, Ordering::SeqCst);
        Self(statistics.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::SeqCst);
    }
}
