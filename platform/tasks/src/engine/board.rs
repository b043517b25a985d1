//! What this process holds: which tasks are leased, which of them run, and how much of it is whose.
//! Not for the database.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use kernel::{TenantId, Timestamp};

use crate::TaskId;
use crate::queries::{Lease, Leg};

/// A task that this process has leased.
#[derive(Debug)]
pub(super) struct Claimed {
    pub tenant: TenantId,
    pub id: TaskId,
    pub job: &'static str,
    pub payload: String,
    pub priority: i64,
    pub run_at: Timestamp,
    pub fence: i64,
    pub attempt: i64,
    pub cancelled: bool,
    pub correlation_id: String,
}

impl Claimed {
    pub fn lease(&self) -> Lease {
        Lease { tenant: self.tenant, id: self.id, fence: self.fence }
    }
}

#[derive(Debug, Default)]
struct Share {
    /// Leased, whether running or waiting for a worker.
    leased: usize,
    running: usize,
    of_job: BTreeMap<&'static str, usize>,
}

/// Who has work, and who has how much of this process.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Tenants that have work which could be leased.
    hot: BTreeSet<TenantId>,
    /// Tenants whose further work waits until something of theirs ends.
    full: BTreeSet<TenantId>,
    shares: HashMap<TenantId, Share>,
    /// Leased and not yet given to a worker.
    waiting: VecDeque<Claimed>,
    /// Everything that must be kept leased.
    leases: HashMap<TaskId, Lease>,
    running: usize,
    served_last: Option<TenantId>,
}

/// How much one tenant may have when it is alone: the rest is free for whoever comes next.
fn most_for_one(places: usize) -> usize {
    if places > 1 { places - (places / 4).max(1) } else { places }
}

impl Board {
    pub fn heat(&mut self, tenants: impl IntoIterator<Item = TenantId>) {
        self.hot.extend(tenants);
    }

    pub fn has_hot(&self) -> bool {
        !self.hot.is_empty()
    }

    pub fn leased(&self) -> usize {
        self.leases.len()
    }

    pub fn leases(&self) -> Vec<Lease> {
        self.leases.values().copied().collect()
    }

    /// Returns whose turn it is and how much each may get, least served first, in a rotating order.
    pub fn turns(&self, places: usize) -> Vec<(TenantId, usize)> {
        let mut room = places.saturating_sub(self.taken());
        let active = self.hot.iter().chain(self.shares.keys()).collect::<BTreeSet<_>>().len().max(1);
        let share = places.div_ceil(active).min(most_for_one(places)).max(1);
        let after = |tenant: &TenantId| self.served_last.is_some_and(|last| *tenant <= last);
        let leased = |tenant: &TenantId| self.shares.get(tenant).map_or(0, |share| share.leased);
        let mut order: Vec<TenantId> = self.hot.iter().copied().collect();
        order.sort_by_key(|tenant| (leased(tenant), after(tenant), *tenant));
        // Everybody gets one before anybody gets a second.
        let each = (room / order.len().max(1)).max(1);
        let mut turns = Vec::new();
        for tenant in order {
            let wanted = share.saturating_sub(leased(&tenant)).min(room).min(if active == 1 { room } else { each });
            if wanted > 0 {
                turns.push((tenant, wanted));
                room -= wanted;
            }
        }
        turns
    }

    /// Returns how many of a job the tenant may get beside what it has.
    pub fn room_for(&self, tenant: TenantId, job: &'static str, most: Option<usize>) -> usize {
        let has = self.shares.get(&tenant).and_then(|share| share.of_job.get(job)).copied().unwrap_or(0);
        most.map_or(usize::MAX, |most| most.max(1).saturating_sub(has))
    }

    /// Notes what a tenant got of what it might have got.
    pub fn served(&mut self, tenant: TenantId, wanted: usize, got: Vec<Claimed>, legs: &[Leg], jobs: usize) {
        self.served_last = Some(tenant);
        if got.len() < wanted {
            self.hot.remove(&tenant);
            let used_up = |leg: &Leg| got.iter().filter(|claimed| claimed.job == leg.0).count() >= leg.1;
            if legs.len() < jobs || legs.iter().any(used_up) {
                self.full.insert(tenant);
            }
        }
        for claimed in got {
            let share = self.shares.entry(tenant).or_default();
            share.leased += 1;
            *share.of_job.entry(claimed.job).or_default() += 1;
            self.leases.insert(claimed.id, claimed.lease());
            self.waiting.push_back(claimed);
        }
    }

    /// Takes the task that the next free worker gets: the first of the tenant that has the fewest.
    pub fn start_next(&mut self, workers: usize) -> Option<Claimed> {
        if self.running >= workers {
            return None;
        }
        let running = |tenant: &TenantId| self.shares.get(tenant).map_or(0, |share| share.running);
        let (place, _) = self
            .waiting
            .iter()
            .enumerate()
            .map(|(place, claimed)| (place, running(&claimed.tenant)))
            .filter(|(_, running)| *running < most_for_one(workers))
            .min_by_key(|(_, running)| *running)?;
        let claimed = self.waiting.remove(place)?;
        self.running += 1;
        self.shares.entry(claimed.tenant).or_default().running += 1;
        Some(claimed)
    }

    /// Takes what no worker has begun.
    pub fn take_waiting(&mut self) -> Vec<Claimed> {
        let waiting: Vec<Claimed> = self.waiting.drain(..).collect();
        waiting.iter().for_each(|claimed| self.free(claimed.tenant, claimed.job));
        waiting
    }

    /// Notes that a worker is free again.
    pub fn stopped(&mut self, tenant: TenantId, job: &'static str) {
        self.running -= 1;
        if let Some(share) = self.shares.get_mut(&tenant) {
            share.running -= 1;
        }
        self.free(tenant, job);
    }

    fn free(&mut self, tenant: TenantId, job: &'static str) {
        if let Some(share) = self.shares.get_mut(&tenant) {
            share.leased -= 1;
            if let Some(count) = share.of_job.get_mut(job) {
                *count -= 1;
            }
            if share.leased == 0 {
                self.shares.remove(&tenant);
            }
        }
        if self.full.remove(&tenant) {
            self.hot.insert(tenant);
        }
    }

    /// Notes that the row says how the task ended, so the lease need not be kept.
    pub fn settled(&mut self, lease: Lease) {
        if self.leases.get(&lease.id).is_some_and(|held| held.fence == lease.fence) {
            self.leases.remove(&lease.id);
        }
    }

    /// Returns how many places are taken: by work under way and by what waits for a worker.
    fn taken(&self) -> usize {
        self.running + self.waiting.len()
    }

    pub fn room(&self, places: usize) -> usize {
        places.saturating_sub(self.taken())
    }
}
