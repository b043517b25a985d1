//! A body on its way from the origin into the store, read at the origin's pace by a task of its own. Not for deciding
//! whether it is stored; see `fill`.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::body::Filling;
use crate::cache::Inner;
use crate::fill::land;
use crate::flight::{Landing, Leader};
use crate::stored::Stored;

/// A body on its way into the store.
pub(crate) struct Fill {
    pub cache: Arc<Inner>,
    pub body: Body,
    pub filling: Arc<Filling>,
    pub expected: Option<u64>,
    pub early: Arc<Stored>,
    pub leader: Option<Leader>,
    pub most: u64,
}

impl Fill {
    pub(crate) async fn run(mut self) {
        let mut length = 0;
        loop {
            if self.body.is_end_stream() {
                return self.finish(length, None);
            }
            let chunk = match timeout(self.cache.fill_idle, self.body.frame()).await {
                Ok(None) => return self.finish(length, None),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(_))) | Err(_) => return self.filling.end(false),
            };
            length += chunk.len() as u64;
            if length > self.most {
                self.filling.push(chunk);
                let until = self.cache.clock.now().plus(self.cache.hit_for_miss);
                self.cache.flights.mark_unfit(&self.early.key, until);
                land(self.leader.as_ref(), Landing::Alone);
                return self.filling.hand_over(std::mem::take(&mut self.body));
            }
            // Stored before the client has the last byte: whoever asks next finds it.
            if self.body.is_end_stream() {
                return self.finish(length, Some(chunk));
            }
            self.filling.push(chunk);
        }
    }

    fn finish(&self, length: u64, last: Option<Bytes>) {
        // Shorter than was said: it broke off.
        let whole = self.expected.is_none_or(|expected| expected == length);
        let fits = self.early.part.is_none_or(|part| part.length() == length);
        if whole && fits {
            let content = self.filling.gather(last.as_ref());
            let stored = self.early.with_content(self.cache.memory.next_id(), content);
            match self.cache.store(stored) {
                Ok(stored) => land(self.leader.as_ref(), self.cache.landing(&stored, self.cache.clock.now())),
                Err(_) => land(self.leader.as_ref(), Landing::Alone),
            }
        }
        if let Some(last) = last {
            self.filling.push(last);
        }
        self.filling.end(whole);
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        // Its core has stopped: nobody waits for the rest.
        self.filling.abandon();
    }
}
