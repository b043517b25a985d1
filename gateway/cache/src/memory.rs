//! The tier in memory: entries by key, bounded by bytes, each with the answers that Vary tells apart. Not for what
//! may be given of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use kernel::TenantId;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, Weighter};

use crate::body::Content;
use crate::conditional::strong;
use crate::index::Index;
use crate::key::Key;
use crate::stored::Stored;
use crate::tag::Tag;

/// How many answers one key may have.
const VARIANTS: usize = 32;

/// All answers of one key, the newest first.
#[derive(Clone)]
pub(crate) struct Resource(pub Arc<[Arc<Stored>]>);

impl Resource {
    /// Returns the newest answer that this request selects and that has what it wants.
    pub(crate) fn select(&self, request: &HeaderMap) -> Option<&Arc<Stored>> {
        let mut selected = self.0.iter().filter(|stored| !stored.is_dead() && stored.vary.matches(request));
        selected.find(|stored| stored.covers(request))
    }

    /// Says whether some answer is there, whatever request it is for.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.iter().any(|stored| !stored.is_dead())
    }
}

/// The entries.
pub(crate) struct Memory {
    entries: Cache<Key, Resource, ByBytes, std::hash::RandomState, Evicted>,
    pub index: Index,
    ids: AtomicU64,
    largest: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Resource> for ByBytes {
    fn weight(&self, _: &Key, resource: &Resource) -> u64 {
        resource.0.iter().map(|stored| stored.weight()).sum::<u64>().max(1)
    }
}

/// Collects what an insertion pushed out, so that the index can forget it.
#[derive(Clone)]
struct Evicted;

impl Lifecycle<Key, Resource> for Evicted {
    type RequestState = Vec<Resource>;

    fn on_evict(&self, state: &mut Self::RequestState, _: Key, resource: Resource) {
        state.push(resource);
    }
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        // Guessed at 4 KiB each: it decides how many shards there are, not how many fit.
        let items = usize::try_from(bytes / 4_096).unwrap_or(usize::MAX).max(64);
        let entries = Cache::with(items, bytes, ByBytes, std::hash::RandomState::new(), Evicted);
        let largest = entries.shard_capacity() / 2;
        Self { entries, index: Index::default(), ids: AtomicU64::new(1), largest }
    }

    /// Returns a name for a new answer.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns what is under this key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Resource> {
        self.entries.get(key)
    }

    /// Stores an answer in the place of those that the same requests select; gives it back where an invalidation came after
    /// it was asked for, or where it is too large.
    pub(crate) fn insert(&self, stored: Stored) -> Result<Arc<Stored>, Box<Stored>> {
        if stored.weight() > self.largest {
            return Err(Box::new(stored));
        }
        let (tenant, key) = (stored.tenant, stored.key.clone());
        let mut evicted = Vec::new();
        let inserted = self.index.space(tenant, |space| {
            if !space.admits(stored.tags.iter(), stored.began) {
                return Err(Box::new(stored));
            }
            let old = self.entries.peek(&key);
            let others = old.as_ref().map_or(&[][..], |resource| &resource.0);
            let stored = Arc::new(combine(stored, others));
            let mut variants = vec![stored.clone()];
            for other in others {
                let replaced =
                    other.is_dead() || other.vary.values == stored.vary.values && other.vary.names == stored.vary.names;
                if replaced || variants.len() == VARIANTS {
                    space.forget(other);
                } else {
                    variants.push(other.clone());
                }
            }
            space.enter(&stored);
            self.entries.insert_with_lifecycle(key, Resource(variants.into()), &mut evicted);
            Ok(stored)
        });
        self.forget(evicted);
        inserted
    }

    fn forget(&self, evicted: Vec<Resource>) {
        for stored in evicted.iter().flat_map(|resource| resource.0.iter()) {
            self.index.space(stored.tenant, |space| space.forget(stored));
        }
    }

    /// Removes what carries any of these tags, and says how much that was.
    pub(crate) fn invalidate(&self, tenant: Option<TenantId>, tags: &[Tag]) -> usize {
        let taken = self.index.invalidate(tenant, tags);
        for stored in &taken {
            // The dead are never given; those that share a key with the living leave with the next change.
            self.entries.remove_if(&stored.key, |resource| !resource.is_alive());
        }
        taken.len()
    }

    /// Removes one answer.
    pub(crate) fn remove(&self, stored: &Arc<Stored>) {
        stored.dead.store(true, Ordering::Release);
        self.index.space(stored.tenant, |space| {
            space.forget(stored);
            self.entries.remove_if(&stored.key, |resource| !resource.is_alive());
        });
    }

    /// Says whether an answer that was asked for when there had been `began` invalidations is still good.
    pub(crate) fn admits(&self, stored: &Stored, began: u64) -> bool {
        self.index.space(stored.tenant, |space| space.admits(stored.tags.iter(), began))
    }

    /// Removes everything; what was asked for before is not stored.
    pub(crate) fn clear(&self) {
        self.index.invalidate_all();
        let all: Vec<Resource> = self.entries.iter().map(|(_, resource)| resource).collect();
        for stored in all.iter().flat_map(|resource| resource.0.iter()) {
            self.remove(stored);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Joins a part with the parts of the same representation that are there (RFC 9111 section 3.4).
fn combine(mut stored: Stored, others: &[Arc<Stored>]) -> Stored {
    let Some(part) = stored.part else { return stored };
    let other = others.iter().filter(|other| !other.is_dead() && strong(&other.headers).is_some()).find(|other| {
        strong(&other.headers) == strong(&stored.headers)
            && other.vary.values == stored.vary.values
            && other.part.is_some()
    });
    let Some((other, theirs)) = other.and_then(|other| Some((other, other.part?))) else { return stored };
    let Some(joined) = part.join(&theirs) else { return stored };
    let (first, first_part, second, second_part) = match part.first <= theirs.first {
        true => (&stored.content, part, &other.content, theirs),
        false => (&other.content, theirs, &stored.content, part),
    };
    let overlap = first_part.last + 1 - second_part.first;
    let mut chunks = first.chunks.clone();
    if overlap < second_part.length() {
        chunks.extend(second.slice(overlap, second_part.length() - overlap));
    }
    stored.content = Arc::new(Content { chunks, length: joined.length() });
    stored.headers.insert(http::header::CONTENT_LENGTH, joined.length().into());
    if joined.is_whole() {
        stored.part = None;
        stored.status = http::StatusCode::OK;
        stored.headers.remove(http::header::CONTENT_RANGE);
    } else {
        stored.part = Some(joined);
        stored.headers.insert(http::header::CONTENT_RANGE, joined.header());
    }
    stored
}

impl Resource {
    /// Returns the key.
    pub(crate) fn key(&self) -> Option<Key> {
        self.0.first().map(|stored| stored.key.clone())
    }
}
