//! Remembers checked bearer tokens for a short while, so that a known caller costs no question to
//! the database. What was revoked is gone before `revoke` returns, and a check that was under way
//! meanwhile is not remembered. Not for deciding what is revoked: whoever decides says so here.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kernel::Clock;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use web::{Revocation, Verified};

use crate::checks::Checks;
use crate::metrics::{Metrics, TokenMetrics};

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct TokenCacheConfig {
    /// How many tokens; none means that each request is checked anew.
    pub capacity: usize,
    /// How long after its check a token is believed.
    pub max_age: Duration,
}

impl Default for TokenCacheConfig {
    fn default() -> Self {
        Self { capacity: 100_000, max_age: Duration::from_secs(60) }
    }
}

/// The SHA-256 of a token, so that no token lies in memory for longer than its request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Any eight bytes of a SHA-256 are as good as all of them.
        state.write(&self.0[..8]);
    }
}

#[derive(Clone)]
struct Entry {
    verified: Arc<Verified>,
    checked: Instant,
}

/// Says when a check began; taken before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    generation: u64,
    began: Instant,
}

impl Ticket {
    /// Returns how long ago the check began.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// The tokens that were checked a short while ago.
pub struct TokenCache {
    entries: Cache<Key, Entry>,
    checks: Checks,
    /// Counts the revocations. Held for reading while an entry is put in, so that a revocation
    /// either comes later and finds the entry, or came before and keeps it out.
    generation: RwLock<u64>,
    max_age: Duration,
    feed: Option<Feed>,
    clock: Clock,
    metrics: TokenMetrics,
}

/// Knows when the revocations of other processes were last known to be complete.
struct Feed {
    stale_after: Duration,
    origin: Instant,
    /// Microseconds after the origin; zero means never.
    confirmed: AtomicU64,
}

impl Feed {
    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        confirmed > 0 && u128::from(self.micros(now).saturating_sub(confirmed)) <= self.stale_after.as_micros()
    }
}

impl TokenCache {
    /// Returns an empty cache of a process that learns of every revocation by itself.
    pub fn new(config: TokenCacheConfig, clock: Clock, metrics: &Metrics) -> Self {
        Self {
            entries: Cache::new(config.capacity),
            checks: Checks::default(),
            generation: RwLock::default(),
            max_age: config.max_age,
            feed: None,
            clock,
            metrics: metrics.tokens(),
        }
    }

    /// Says that other processes revoke too: what is remembered counts only while a feed of their
    /// revocations was confirmed within this time.
    #[must_use]
    pub fn feed(mut self, stale_after: Duration) -> Self {
        self.feed = Some(Feed { stale_after, origin: Instant::now(), confirmed: AtomicU64::new(0) });
        self
    }

    /// Says that every revocation that was there at that moment has been passed to `revoke`.
    pub fn confirm(&self, moment: Instant) {
        if let Some(feed) = &self.feed {
            feed.confirmed.store(feed.micros(moment).max(1), Ordering::Release);
        }
    }

    /// Returns the caller behind a token that may still be believed.
    pub fn get(&self, token: &str) -> Option<Arc<Verified>> {
        self.get_at(token, Instant::now())
    }

    fn get_at(&self, token: &str, now: Instant) -> Option<Arc<Verified>> {
        let Some(entry) = self.entries.get(&Key::of(token)) else {
            self.metrics.miss.inc();
            return None;
        };
        if self.is_good(&entry, now) {
            self.metrics.hit.inc();
            return Some(entry.verified);
        }
        self.metrics.stale.inc();
        None
    }

    /// Returns the same without counting it.
    pub(crate) fn peek(&self, key: &Key) -> Option<Arc<Verified>> {
        let entry = self.entries.get(key)?;
        self.is_good(&entry, Instant::now()).then_some(entry.verified)
    }

    fn is_good(&self, entry: &Entry, now: Instant) -> bool {
        let young = now.saturating_duration_since(entry.checked) < self.max_age;
        let fresh = self.feed.as_ref().is_none_or(|feed| feed.is_fresh(now));
        young && fresh && self.clock.now() < entry.verified.until
    }

    pub(crate) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Says whether one check is enough for all who come meanwhile; not where each request is to be checked anew.
    pub(crate) fn is_coalescing(&self) -> bool {
        self.entries.capacity() > 0
    }

    /// Says whether nothing was revoked since a check began.
    pub(crate) fn is_current(&self, ticket: Ticket) -> bool {
        *self.generation.read().unwrap_or_else(PoisonError::into_inner) == ticket.generation
    }

    /// Begins a check, before anything is read for it.
    pub fn begin(&self) -> Ticket {
        let generation = *self.generation.read().unwrap_or_else(PoisonError::into_inner);
        Ticket { generation, began: Instant::now() }
    }

    /// Remembers a checked token, unless something was revoked since its check began: it may have
    /// read what the revocation ended.
    pub fn admit(&self, ticket: Ticket, token: &str, verified: &Arc<Verified>) {
        let entry = Entry { verified: verified.clone(), checked: ticket.began };
        let generation = self.generation.read().unwrap_or_else(PoisonError::into_inner);
        if *generation == ticket.generation {
            self.entries.insert(Key::of(token), entry);
        }
        drop(generation);
        self.count();
    }

    /// Forgets what is no longer to be believed. Looks at every entry: milliseconds when it is full.
    pub fn revoke(&self, revocation: &Revocation) {
        *self.generation.write().unwrap_or_else(PoisonError::into_inner) += 1;
        let removed = Cell::new(0);
        self.entries.retain(|_, entry| {
            let covered = revocation.covers(&entry.verified.principal);
            removed.set(removed.get() + u64::from(covered));
            !covered
        });
        self.metrics.revoked.inc_by(removed.get());
        self.count();
    }

    /// Returns how many tokens are remembered, believed or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn count(&self) {
        self.metrics.entries.set(i64::try_from(self.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use kernel::{Actor, PermissionSet, TenantId, Timestamp, UserId};
    use web::{CredentialKind, Principal};

    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000_000_000);

    fn verified(until: Timestamp) -> Arc<Verified> {
        let principal = Principal {
            tenant: TenantId::new(),
            actor: Actor::User(UserId::new()),
            role: "staff".into(),
            permissions: PermissionSet::default(),
            credential: "tok_1".into(),
            kind: CredentialKind::ApiToken,
            elevated: None,
        };
        Arc::new(Verified { principal: Arc::new(principal), until })
    }

    fn cache() -> (TokenCache, Metrics, Clock) {
        let (metrics, clock) = (Metrics::default(), Clock::manual(START));
        (TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics), metrics, clock)
    }

    #[test]
    fn a_token_is_believed_for_a_minute_after_its_check_and_until_it_expires() {
        let (cache, metrics, clock) = cache();
        let known = verified(START.plus(Duration::from_secs(3_600)));
        let ticket = cache.begin();
        cache.admit(ticket, "token", &known);
        let after = |seconds: u64| ticket.began + Duration::from_secs(seconds);
        assert_eq!(cache.get_at("token", after(59)), Some(known));
        assert_eq!(cache.get_at("token", after(60)), None, "the age counts from the beginning of the check");
        assert_eq!(cache.get_at("tokem", after(0)), None);
        clock.shift(3_599_999_999);
        assert!(cache.get_at("token", after(1)).is_some());
        clock.shift(1);
        assert_eq!(cache.get_at("token", after(1)), None, "the credential has ended");
        let text = metrics.text().expect("metrics");
        for line in [
            "token_cache_lookups_total{outcome=\"hit\"} 2",
            "token_cache_lookups_total{outcome=\"miss\"} 1",
            "token_cache_lookups_total{outcome=\"stale\"} 2",
            "token_cache_revoked_total 0",
            "token_cache_entries 1",
        ] {
            assert!(text.contains(&format!("portico_{line}\n")), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn with_a_feed_a_token_is_believed_only_while_the_feed_is_confirmed() {
        let cache = cache().0.feed(Duration::from_secs(2));
        let ticket = cache.begin();
        cache.admit(ticket, "token", &verified(START.plus(Duration::from_secs(3_600))));
        let after = |millis: u64| ticket.began + Duration::from_millis(millis);
        assert_eq!(cache.get_at("token", after(0)), None, "the feed has not been heard yet");
        cache.confirm(after(100));
        assert!(cache.get_at("token", after(2_100)).is_some());
        assert_eq!(cache.get_at("token", after(2_101)), None, "the feed is away");
        cache.confirm(after(5_000));
        assert!(cache.get_at("token", after(5_001)).is_some(), "what was revoked meanwhile is gone by now");
    }
}
