//! Between memory and Redis: what is looked for where, and what goes where. Not for either of them.

use std::sync::Arc;

use kernel::Timestamp;

use crate::cache::{Inner, Job};
use crate::codec::{self, Record};
use crate::select::{Use, choose};
use crate::stored::Stored;
use crate::vary::selecting;

impl Inner {
    /// Looks in Redis for an answer to this request, which goes to memory if it is there; and returns how many
    /// invalidations Redis has counted, for what is going to be fetched.
    pub(crate) async fn look_further(&self, job: &Job) -> (Option<Arc<Stored>>, Option<u64>) {
        let Some(redis) = &self.redis else { return (None, None) };
        let began = self.memory.index.sequence();
        let tenant = job.scope.tenant;
        let Some((data, counted)) = redis.get(&job.key).await else {
            self.metrics.redis_failures.inc();
            return (None, None);
        };
        let mut record = data.and_then(|data| codec::read(data, &job.key, tenant));
        if let Some(Record::Names(names)) = &record {
            let name = with_values(&job.key, &selecting(names, &job.parts.headers));
            let data = redis.get(&name).await.and_then(|(data, _)| data);
            record = data.and_then(|data| codec::read(data, &job.key, tenant));
        }
        let Some(Record::Answer(mut stored, before)) = record else {
            self.metrics.redis_misses.inc();
            return (None, Some(counted));
        };
        let good =
            stored.vary.matches(&job.parts.headers) && redis.is_good(tenant, &stored.tags, before).await == Some(true);
        if !good {
            self.metrics.redis_misses.inc();
            return (None, Some(counted));
        }
        self.metrics.redis_hits.inc();
        (stored.id, stored.began) = (self.memory.next_id(), began);
        let stored = self.memory.insert(*stored).ok();
        self.measure();
        (stored, Some(counted))
    }

    /// Returns how many invalidations Redis has counted.
    pub(crate) async fn count(&self) -> Option<u64> {
        // The name of nothing: only the count is wanted.
        self.redis.as_ref()?.get(b"").await.map(|(_, counted)| counted)
    }

    /// Gives Redis what has been stored in memory.
    pub(crate) fn share(&self, stored: &Stored, now: Timestamp) {
        let (Some(redis), Some(counted)) = (&self.redis, stored.counted) else { return };
        let meta = &stored.meta;
        let usable = meta.lifetime - meta.age(now) + meta.while_revalidate.max(meta.if_error);
        let most = redis.config().max_ttl_seconds.saturating_mul(1_000);
        let milliseconds = u64::try_from(usable / 1_000).unwrap_or(0).min(most);
        let size = stored.content.length;
        if milliseconds == 0 || stored.part.is_some() || size > redis.config().max_object_bytes {
            return;
        }
        let data = codec::answer(stored, counted);
        if stored.vary.names.is_empty() {
            return redis.put(&stored.key, data, milliseconds);
        }
        redis.put(&stored.key, codec::names(&stored.vary.names), milliseconds);
        redis.put(&with_values(&stored.key, &stored.vary.values), data, milliseconds);
    }

    /// Says how a stored answer may be used by whoever asked nothing special.
    pub(crate) fn is_fresh(&self, stored: &Stored, asked: &crate::directives::Asked, now: Timestamp) -> bool {
        choose(&stored.meta, asked, now, self.trusted()) == Use::Fresh
    }

    /// Returns for how long what is in memory can be trusted, where other nodes cannot be heard.
    pub(crate) fn trusted(&self) -> Option<i64> {
        self.redis.as_ref()?.trusted()
    }
}

/// Returns the name of one variant; the mark keeps it apart from every key.
fn with_values(key: &[u8], values: &[u8]) -> Vec<u8> {
    [key, b"\0variant\0", values].concat()
}
