//! What a dispatcher has counted, for the metrics page. Not for decisions.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The counts of one subscription or sink in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionStatistics {
    /// Its name.
    pub name: String,
    /// How many positions of the log it is behind; goes up and down.
    pub lag: u64,
    /// How many events this process has applied.
    pub applied: u64,
    /// How many times applying one has failed here.
    pub failed: u64,
    /// How many streams are tried again by themselves; goes up and down.
    pub retrying: u64,
    /// How many streams wait for an operator; goes up and down.
    pub parked: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub applied: AtomicU64,
    pub failed: AtomicU64,
    pub retrying: AtomicU64,
    pub parked: AtomicU64,
    pub position: AtomicI64,
}

impl Counts {
    pub(crate) fn add(&self, applied: u64, failed: u64) {
        self.applied.fetch_add(applied, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, name: &str, last: i64) -> SubscriptionStatistics {
        let behind = last.saturating_sub(self.position.load(Ordering::Relaxed));
        SubscriptionStatistics {
            name: name.to_owned(),
            lag: u64::try_from(behind).unwrap_or(0),
            applied: self.applied.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            retrying: self.retrying.load(Ordering::Relaxed),
            parked: self.parked.load(Ordering::Relaxed),
        }
    }
}
