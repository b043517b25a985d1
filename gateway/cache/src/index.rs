//! Which entries carry which tag, per tenant, and what was invalidated when. Not for the entries themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kernel::TenantId;

use crate::stored::Stored;
use crate::tag::Tag;

const SHARDS: usize = 16;
/// How many invalidated tags without entries one tenant's index remembers one by one.
const REMEMBERED: usize = 1_024;

/// The index of all tenants. What one tenant does touches only its own space.
#[derive(Default)]
pub(crate) struct Index {
    shards: [Mutex<HashMap<Option<TenantId>, Space>>; SHARDS],
    /// How many invalidations there have been.
    sequence: AtomicU64,
    /// Fills of any tenant that began before this invalidation are not stored: it was one of everything.
    floor: AtomicU64,
}

/// The index of one tenant.
#[derive(Default)]
pub(crate) struct Space {
    tags: HashMap<Tag, Tagged>,
    /// Fills that began before this invalidation are not stored: it stands for tags that were forgotten.
    floor: u64,
    empty: usize,
}

#[derive(Default)]
struct Tagged {
    invalidated: u64,
    entries: HashMap<u64, Arc<Stored>>,
}

impl Index {
    /// Returns how many invalidations there have been: what a fill remembers when it begins.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::SeqCst)
    }

    /// Runs this on a tenant's space; its changes to the store are in one order with all others of the tenant.
    pub(crate) fn space<T>(&self, tenant: Option<TenantId>, run: impl FnOnce(&mut Space) -> T) -> T {
        let fresh = || Space { floor: self.floor.load(Ordering::SeqCst), ..Space::default() };
        run(self.shard(tenant).entry(tenant).or_insert_with(fresh))
    }

    fn shard(&self, tenant: Option<TenantId>) -> MutexGuard<'_, HashMap<Option<TenantId>, Space>> {
        let bits = tenant.map_or(0, |tenant| tenant.uuid().as_u128());
        let shard = (bits ^ (bits >> 64)) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an invalidation of everything.
    pub(crate) fn invalidate_all(&self) {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        self.floor.fetch_max(sequence, Ordering::SeqCst);
        for shard in &self.shards {
            let mut spaces = shard.lock().unwrap_or_else(PoisonError::into_inner);
            spaces.values_mut().for_each(|space| space.floor = space.floor.max(sequence));
        }
    }

    /// Marks what carries any of these tags as dead and returns it; what is being fetched now will not be stored.
    pub(crate) fn invalidate(&self, tenant: Option<TenantId>, tags: &[Tag]) -> Vec<Arc<Stored>> {
        self.space(tenant, |space| {
            let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
            let mut taken = Vec::new();
            for tag in tags {
                let tagged = space.tags.entry(tag.clone()).or_default();
                if tagged.invalidated == 0 && tagged.entries.is_empty() {
                    space.empty += 1;
                }
                tagged.invalidated = sequence;
                taken.extend(std::mem::take(&mut tagged.entries).into_values());
            }
            for stored in &taken {
                stored.dead.store(true, Ordering::Release);
                space.forget(stored);
            }
            space.prune(sequence);
            taken
        })
    }
}

impl Space {
    /// Says whether something that was asked for when there had been `began` invalidations is still good.
    pub(crate) fn admits<'a>(&self, mut tags: impl Iterator<Item = &'a Tag>, began: u64) -> bool {
        began >= self.floor && tags.all(|tag| self.tags.get(tag).is_none_or(|tagged| tagged.invalidated <= began))
    }

    /// Enters an answer under its tags.
    pub(crate) fn enter(&mut self, stored: &Arc<Stored>) {
        for tag in &stored.tags {
            self.tags.entry(tag.clone()).or_default().entries.insert(stored.id, stored.clone());
        }
    }

    /// Takes an answer out that was evicted or replaced.
    pub(crate) fn forget(&mut self, stored: &Stored) {
        for tag in &stored.tags {
            let Some(tagged) = self.tags.get_mut(tag) else { continue };
            tagged.entries.remove(&stored.id);
            if tagged.entries.is_empty() {
                if tagged.invalidated == 0 {
                    self.tags.remove(tag);
                } else {
                    self.empty += 1;
                }
            }
        }
    }

    /// Forgets tags without entries when there are many: then no fill that began before is stored.
    fn prune(&mut self, sequence: u64) {
        if self.empty > REMEMBERED {
            self.tags.retain(|_, tagged| !tagged.entries.is_empty());
            (self.floor, self.empty) = (sequence, 0);
        }
    }
}
