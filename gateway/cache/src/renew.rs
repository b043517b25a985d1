//! Bringing stored answers up to date: with a 304 to a request of ours, with an answer to HEAD (RFC 9111 sections 4.3.4
//! and 4.3.5). Not for asking; see `fill`.

use std::sync::Arc;

use axum::body::Body;
use http::header::AGE;
use http::{HeaderMap, Response, StatusCode};

use crate::body::Content;
use crate::cache::{Inner, Job};
use crate::conditional::{freshen, is_same};
use crate::directives::Said;
use crate::fill::{When, asking, land};
use crate::flight::{Landing, Leader};
use crate::stored::{Outcome, Stored, kept};
use crate::tag;
use crate::vary::Vary;
use crate::verdict::judge;

impl Inner {
    /// Brings a stored answer up to date with a 304 (RFC 9111 section 4.3.4), and gives it.
    pub(crate) fn revalidated(
        &self,
        job: &Job,
        old: &Arc<Stored>,
        new: &HeaderMap,
        when: When,
        leader: Option<&Leader>,
    ) -> Response<Body> {
        let (fresh, storable) = self.freshened(job, old, new, when);
        let asking = asking(job, when.received, Outcome::Revalidated);
        if !storable {
            self.memory.remove(old);
            land(leader, Landing::Alone);
            return self.give(&fresh, &asking);
        }
        match self.store(fresh) {
            Ok(stored) => {
                land(leader, self.landing(&stored, when.received));
                self.give(&stored, &asking)
            }
            Err(fresh) => {
                land(leader, Landing::Alone);
                self.give(&fresh, &asking)
            }
        }
    }

    /// Returns a stored answer with the fields of a newer head, and whether it may be stored.
    fn freshened(&self, job: &Job, old: &Stored, new: &HeaderMap, when: When) -> (Stored, bool) {
        let policy = &job.policy;
        let said = Said::of(new, &policy.targeted, policy.surrogate);
        let headers = freshen(&old.headers, &kept(policy, new, &said, when.received));
        let mut judged = headers.clone();
        judged.extend(new.get(AGE).map(|age| (AGE, age.clone())));
        for name in policy.targeted.iter().filter_map(|name| new.get(name).map(|value| (name.clone(), value.clone()))) {
            judged.insert(name.0, name.1);
        }
        let times = (when.asked, when.received);
        let verdict = judge(policy, &job.scope, &job.parts, old.status, &judged, times);
        let vary = Vary::of(&job.parts.headers, &headers);
        let storable = verdict.is_some() && vary.is_some();
        let mut fresh = old.with_content(self.memory.next_id(), Content::default());
        fresh.content = old.content.clone();
        fresh.headers = headers;
        (fresh.began, fresh.counted) = (when.began, when.counted);
        fresh.tags.extend(tag::carried(policy, new).into_iter().filter(|tag| !old.tags.contains(tag)));
        if let (Some((meta, _)), Some(vary)) = (verdict, vary) {
            (fresh.meta, fresh.vary) = (meta, vary);
        }
        (fresh, storable)
    }

    /// Passes an answer to HEAD on; it brings what is stored up to date, or shows that it is not (RFC 9111 section 4.3.5).
    pub(crate) fn after_head(
        &self,
        job: &Job,
        stored: Option<Arc<Stored>>,
        response: Response<Body>,
        when: When,
    ) -> Response<Body> {
        if let Some(stored) = stored.filter(|stored| response.status() == StatusCode::OK && !stored.is_dead()) {
            let (fresh, storable) = self.freshened(job, &stored, response.headers(), when);
            if !storable || !is_same(&stored.headers, response.headers()) || self.store(fresh).is_err() {
                self.memory.remove(&stored);
            }
        }
        self.own(&job.policy, response, Outcome::Miss, job.why)
    }
}
