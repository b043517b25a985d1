//! Buckets by key, in bounded memory: sets of eight, as in a processor's cache, that double until the table
//! is as large as it may be. A full bucket is as good as none and gives its place. When eight buckets of one
//! set are all in use, the one that is nearest to full goes, and the set remembers when that would have been
//! full (`floor`): whoever comes new begins there. So nobody's bucket is ever fuller for having been pushed
//! out, and a flood of keys wins nothing. Not for what a key is made of.

use std::sync::{Mutex, PoisonError, RwLock};

use super::gcra::Bucket;

const WAYS: usize = 8;

#[derive(Clone, Copy, Default)]
struct Way {
    /// 0: nobody's.
    key: u128,
    bucket: Bucket,
}

#[derive(Clone, Default)]
struct Set {
    ways: [Way; WAYS],
    floor: u64,
}

pub(crate) struct Table {
    sets: RwLock<Box<[Mutex<Set>]>>,
    most: usize,
}

impl Table {
    /// Returns a table of at most about so many keys.
    pub(crate) fn new(keys: usize) -> Self {
        let one: Box<[Mutex<Set>]> = [Mutex::default()].into();
        Self { sets: RwLock::new(one), most: keys.div_ceil(WAYS).next_power_of_two() }
    }

    /// Works on the bucket of this key.
    pub(crate) fn with<R>(&self, key: u128, now: u64, work: impl FnOnce(&mut Bucket) -> R) -> R {
        let key = key | 1;
        loop {
            let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
            let mut set = sets[place(key, sets.len())].lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(way) = set.ways.iter_mut().find(|way| way.key == key) {
                return work(&mut way.bucket);
            }
            let free = set.ways.iter().position(|way| way.key == 0 || way.bucket.full_at <= now);
            let full = sets.len();
            if free.is_none() && full < self.most {
                drop(set);
                drop(sets);
                self.grow(full);
                continue;
            }
            let way = free.unwrap_or_else(|| {
                let nearest = (0..WAYS).min_by_key(|way| set.ways[*way].bucket.full_at).unwrap_or(0);
                set.floor = set.floor.max(set.ways[nearest].bucket.full_at);
                nearest
            });
            let full_at = if set.floor > now { set.floor } else { 0 };
            set.ways[way] = Way { key, bucket: Bucket { full_at, ..Bucket::default() } };
            return work(&mut set.ways[way].bucket);
        }
    }

    /// Works on the bucket of this key if there is one.
    pub(crate) fn with_present(&self, key: u128, work: impl FnOnce(&mut Bucket)) {
        let key = key | 1;
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let mut set = sets[place(key, sets.len())].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = set.ways.iter_mut().find(|way| way.key == key) {
            work(&mut way.bucket);
        }
    }

    /// Says whether all buckets are full, so that the table could be forgotten.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.iter().all(|set| {
            let set = set.lock().unwrap_or_else(PoisonError::into_inner);
            set.floor <= now && set.ways.iter().all(|way| way.bucket.full_at <= now)
        })
    }

    fn grow(&self, from: usize) {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if sets.len() != from {
            return;
        }
        let mut grown: Vec<Set> = vec![Set::default(); from * 2];
        for (index, set) in sets.iter_mut().enumerate() {
            let set = set.get_mut().unwrap_or_else(PoisonError::into_inner);
            (grown[index].floor, grown[index + from].floor) = (set.floor, set.floor);
            for way in set.ways.iter().filter(|way| way.key != 0) {
                // Both halves of a set of eight have room for all of it.
                let to = &mut grown[place(way.key, from * 2)];
                if let Some(free) = to.ways.iter_mut().find(|way| way.key == 0) {
                    *free = *way;
                }
            }
        }
        *sets = grown.into_iter().map(Mutex::new).collect();
    }
}

/// Keys are keyed hashes, so that nobody chooses which set a key comes to; the upper half is not the one
/// whose lowest bit is always set.
fn place(key: u128, sets: usize) -> usize {
    (key >> 64) as usize & (sets - 1)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
