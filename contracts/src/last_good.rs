//! Keeps the last good answer to each question of each tenant, for when its giver is away. In memory
//! and bounded: it is a comfort, not data. Not a cache: it is only asked after the giver was.

use std::sync::Arc;
use std::time::Duration;

use kernel::{TenantId, Timestamp};
use quick_cache::sync::Cache;

/// How many answers are kept; those that were not needed for long go first.
const ENTRIES: usize = 512;
/// How long an answer may be to be kept, in bytes.
const LONGEST: usize = 64 << 10;

/// The last good answers.
pub(crate) struct LastGood {
    answers: Cache<(TenantId, String), Arc<Kept>>,
    oldest: Duration,
}

/// An answer that was good.
#[derive(Debug)]
pub(crate) struct Kept {
    pub body: Vec<u8>,
    pub at: Timestamp,
}

impl LastGood {
    /// Returns a memory that forgets what is older than `oldest`.
    pub fn new(oldest: Duration) -> Self {
        Self { answers: Cache::new(ENTRIES), oldest }
    }

    /// Keeps an answer to a question of a tenant.
    pub fn keep(&self, tenant: TenantId, question: &str, body: &[u8], at: Timestamp) {
        let key = (tenant, question.to_owned());
        if body.len() > LONGEST {
            // An older, shorter one would be wrong for longer than it says.
            self.answers.remove(&key);
            return;
        }
        self.answers.insert(key, Arc::new(Kept { body: body.to_vec(), at }));
    }

    /// Returns the answer that this tenant had to this question, unless it is too old.
    pub fn find(&self, tenant: TenantId, question: &str, now: Timestamp) -> Option<Arc<Kept>> {
        let key = (tenant, question.to_owned());
        let kept = self.answers.get(&key)?;
        if kept.at < now.minus(self.oldest) {
            self.answers.remove(&key);
            return None;
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_tenants_its_questions_and_not_for_ever() {
        let good = LastGood::new(Duration::from_secs(10));
        let (tenant, other, at) = (TenantId::new(), TenantId::new(), Timestamp(1_000_000));
        let found = |tenant, question, seconds: i64| {
            good.find(tenant, question, Timestamp(seconds * 1_000_000)).map(|kept| kept.body.clone())
        };
        good.keep(tenant, "/a", b"one", at);
        assert_eq!(found(tenant, "/a", 11).as_deref(), Some(b"one".as_slice()));
        assert_eq!((found(other, "/a", 1), found(tenant, "/b", 1)), (None, None));
        good.keep(tenant, "/a", b"two", Timestamp(2_000_000));
        assert_eq!(found(tenant, "/a", 12).as_deref(), Some(b"two".as_slice()));
        assert_eq!(found(tenant, "/a", 13), None);
        assert_eq!(found(tenant, "/a", 2), None, "what was too old once is gone");
        good.keep(tenant, "/a", b"three", at);
        good.keep(tenant, "/a", &[b'x'; LONGEST + 1], at);
        assert_eq!(found(tenant, "/a", 1), None);
    }

    #[test]
    fn however_many_ask_it_stays_small() {
        let good = LastGood::new(Duration::from_secs(10));
        for _ in 0..ENTRIES * 4 {
            good.keep(TenantId::new(), "/a", b"answer", Timestamp(0));
        }
        assert!(good.answers.len() <= ENTRIES);
    }
}
