//! Asking the origin: alone or for several at a time, storing what may be stored, and standing in for an origin that
//! fails. Not for requests that change something; see `writes`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderName, Request, Response, StatusCode, response};
use http_body::Body as _;
use kernel::{Result, Timestamp};
use tokio::time::Instant;

use crate::body::Filling;
use crate::cache::{Inner, Job};
use crate::conditional::{is_partial, not_modified, validate};
use crate::directives::Asked;
use crate::flight::{Landing, Leader, Seat, wait};
use crate::memory::Resource;
use crate::policy::Policy;
use crate::pump::Fill;
use crate::range::Part;
use crate::select::may_stand_in;
use crate::stored::{Asking, Outcome, Stored, Why, kept, note};
use crate::tag;
use crate::unkeyed::{announce, strip_query, strip_unkeyed};
use crate::vary::{Vary, selecting};
use crate::verdict::judge;

/// Bodies of this size are given to those that wait while they still come in; smaller ones when they are whole, so
/// that an origin that breaks off harms only whoever asked it.
const STREAM_FROM: u64 = 64 << 10;

/// When the origin was asked, when its head came, and how many invalidations there had been before.
#[derive(Clone, Copy)]
pub(crate) struct When {
    pub asked: Timestamp,
    pub received: Timestamp,
    pub began: u64,
    /// The same, as Redis counts.
    pub counted: Option<u64>,
}

impl Inner {
    /// Asks the origin, or waits for somebody who is asking already.
    pub(crate) async fn miss<F, Fut>(
        self: Arc<Self>,
        job: Job,
        stale: Option<Arc<Stored>>,
        found: Option<Resource>,
        fetch: F,
    ) -> Result<Response<Body>>
    where
        F: Fn(Request<Body>) -> Fut + 'static,
        Fut: Future<Output = Result<Response<Body>>> + 'static,
    {
        let now = self.clock.now();
        // What has to be asked for each caller, or is for part of it only, is nobody else's answer.
        let own = job.head
            || job.why == Why::Request
            || stale.as_ref().map_or(is_partial(&job.parts.headers), |stale| stale.meta.no_cache)
            || self.flights.is_unfit(&job.key, now);
        if own {
            return self.fetch(&job, stale, (None, None), &fetch).await;
        }
        let deadline = Instant::now() + self.wait;
        let mut names = found.and_then(|found| found.0.first().map(|stored| stored.vary.names.clone()));
        loop {
            let seat = seat(&job, names.as_deref().unwrap_or_default());
            let mut landing = match self.flights.board(seat) {
                Seat::Wait(receiver) => receiver,
                Seat::Fetch(leader) => {
                    // Somebody may have stored it between the look and the boarding.
                    if let Some(response) = self.again(&job) {
                        return Ok(response);
                    }
                    let (shared, counted) = self.look_further(&job).await;
                    let now = self.clock.now();
                    if let Some(stored) = shared.as_ref().filter(|stored| self.is_fresh(stored, &job.asked, now)) {
                        leader.land(self.landing(stored, now));
                        return Ok(self.give(stored, &asking(&job, now, Outcome::Hit)));
                    }
                    let stale = shared.or(stale);
                    return self.fetch(&job, stale, (Some(leader), counted), &fetch).await;
                }
            };
            match wait(&mut landing, deadline.saturating_duration_since(Instant::now())).await {
                Some(Landing::Gone) => {}
                Some(Landing::Ready(stored, filling)) => {
                    let now = self.clock.now();
                    if !stored.vary.matches(&job.parts.headers) {
                        if names.as_ref() == Some(&stored.vary.names) {
                            break;
                        }
                        names = Some(stored.vary.names.clone());
                        continue;
                    }
                    let good = !stored.is_dead() && self.memory.admits(&stored, stored.began);
                    if !good || !self.is_fresh(&stored, &job.asked, now) {
                        break;
                    }
                    let asking = asking(&job, now, Outcome::Coalesced);
                    self.metrics.count(asking.outcome);
                    return Ok(stored.answer(&asking, filling.map(|filling| filling.read(false))));
                }
                Some(Landing::Failed) => {
                    let now = self.clock.now();
                    let spare = stale.as_ref().filter(|spare| is_spare(spare, &job, now));
                    match spare {
                        Some(spare) => return Ok(self.give(spare, &asking(&job, now, Outcome::Stale))),
                        None => break,
                    }
                }
                // Nothing for others, or it takes too long: everybody asks for themselves.
                Some(Landing::Alone | Landing::Pending) | None => break,
            }
        }
        self.fetch(&job, stale, (None, None), &fetch).await
    }

    fn again(&self, job: &Job) -> Option<Response<Body>> {
        let now = self.clock.now();
        let resource = self.memory.get(&job.key)?;
        let stored = resource.select(&job.parts.headers)?;
        self.is_fresh(stored, &job.asked, now).then(|| self.give(stored, &asking(job, now, Outcome::Coalesced)))
    }

    /// Fetches a stale answer anew in the background, unless somebody does.
    pub(crate) fn refresh<F, Fut>(self: Arc<Self>, job: Job, stale: Arc<Stored>, fetch: F)
    where
        F: Fn(Request<Body>) -> Fut + 'static,
        Fut: Future<Output = Result<Response<Body>>> + 'static,
    {
        let Seat::Fetch(leader) = self.flights.board(seat(&job, &stale.vary.names)) else { return };
        tokio::task::spawn_local(async move {
            let counted = self.count().await;
            if let Err(error) = self.fetch(&job, Some(stale), (Some(leader), counted), &fetch).await {
                tracing::debug!(error = %error, "a stale answer could not be fetched anew");
            }
        });
    }

    async fn fetch<F, Fut>(
        self: &Arc<Self>,
        job: &Job,
        mut stale: Option<Arc<Stored>>,
        (leader, counted): (Option<Leader>, Option<u64>),
        fetch: &F,
    ) -> Result<Response<Body>>
    where
        F: Fn(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>>>,
    {
        loop {
            let began = self.memory.index.sequence();
            let (request, validating) = outbound(job, stale.as_deref());
            let asked = self.clock.now();
            let answered = fetch(request).await;
            let when = When { asked, received: self.clock.now(), began, counted };
            let failed = match &answered {
                Ok(response) => matches!(response.status().as_u16(), 500 | 502 | 503 | 504),
                Err(error) => error.status() >= 500,
            };
            if failed && let Some(spare) = stale.as_ref().filter(|spare| is_spare(spare, job, when.received)) {
                land(leader.as_ref(), Landing::Failed);
                return Ok(self.give(spare, &asking(job, when.received, Outcome::Stale)));
            }
            let response = match answered {
                Ok(response) => response,
                Err(error) => {
                    land(leader.as_ref(), Landing::Failed);
                    return Err(error);
                }
            };
            if job.head {
                return Ok(self.after_head(job, stale, response, when));
            }
            let Some(validated) = stale.take().filter(|_| validating && response.status() == StatusCode::NOT_MODIFIED)
            else {
                return Ok(self.absorb(job, response, when, leader, validating));
            };
            if validated.is_dead() {
                // It was invalidated while the origin was asked about it: there is no body any more.
                continue;
            }
            return Ok(self.revalidated(job, &validated, response.headers(), when, leader.as_ref()));
        }
    }

    /// Stores an answer while it is passed on, if it may be stored.
    pub(crate) fn absorb(
        self: &Arc<Self>,
        job: &Job,
        response: Response<Body>,
        when: When,
        leader: Option<Leader>,
        validating: bool,
    ) -> Response<Body> {
        let Some(early) = self.storable(job, &response, when) else {
            // Only what is so for everybody who asks: nobody is to take this away from the others.
            let special = is_partial(&job.parts.headers) || job.parts.headers.contains_key(AUTHORIZATION);
            if !special && !response.status().is_server_error() {
                self.flights.mark_unfit(&job.key, when.received.plus(self.hit_for_miss));
            }
            land(leader.as_ref(), Landing::Alone);
            return self.own(&job.policy, response, Outcome::Miss, job.why);
        };
        let (head, body) = response.into_parts();
        let expected = length(&head, &body);
        let filling = Filling::new(expected);
        let reader = filling.read(true);
        let early = Arc::new(early);
        let fresh = matches!(self.landing(&early, when.received), Landing::Ready(..));
        if !fresh {
            land(leader.as_ref(), Landing::Alone);
        } else if early.part.is_none() && expected.is_some_and(|expected| expected >= STREAM_FROM) {
            land(leader.as_ref(), Landing::Ready(early.clone(), Some(filling.clone())));
        }
        // The client had a condition, which ours took the place of.
        let known = validating
            && head.status == StatusCode::OK
            && not_modified(&job.parts.headers, &early.headers, &early.meta);
        let known = known.then(|| early.answer(&asking(job, when.received, Outcome::Miss), Some(Body::empty())));
        let fill =
            Fill { cache: self.clone(), body, filling, expected, early, leader, most: job.policy.max_object_bytes };
        // On its own, so that neither a slow client nor one that goes away holds up the others.
        tokio::task::spawn_local(fill.run());
        if let Some(known) = known {
            self.metrics.count(Outcome::Miss);
            return known;
        }
        self.own(&job.policy, Response::from_parts(head, reader), Outcome::Miss, job.why)
    }

    /// Returns the answer as it would be stored, without its body.
    fn storable(&self, job: &Job, response: &Response<Body>, when: When) -> Option<Stored> {
        let (policy, headers) = (&job.policy, response.headers());
        let times = (when.asked, when.received);
        let (meta, said) = judge(policy, &job.scope, &job.parts, response.status(), headers, times)?;
        let vary = Vary::of(&job.parts.headers, headers)?;
        if !policy.vary.is_empty() && !vary.names.iter().all(|name| policy.vary.contains(name)) {
            return None;
        }
        let expected = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let expected = expected.or_else(|| response.body().size_hint().exact());
        if expected.is_some_and(|expected| expected > policy.max_object_bytes) {
            return None;
        }
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let part = if partial { Some(Part::of(headers)?) } else { None };
        if part.is_some_and(|part| expected.is_some_and(|expected| expected != part.length())) {
            return None;
        }
        let mut tags = job.tags.clone();
        tags.extend(tag::carried(policy, headers));
        tags.sort_unstable();
        tags.dedup();
        Some(Stored {
            id: 0,
            key: job.key.clone(),
            tenant: job.scope.tenant,
            status: response.status(),
            headers: kept(policy, headers, &said, when.received),
            content: Arc::default(),
            part,
            vary,
            meta,
            tags,
            began: when.began,
            counted: when.counted,
            dead: AtomicBool::new(false),
            refreshed: AtomicI64::new(0),
        })
    }

    pub(crate) fn store(&self, stored: Stored) -> Result<Arc<Stored>, Box<Stored>> {
        let stored = self.memory.insert(stored)?;
        self.share(&stored, self.clock.now());
        self.metrics.stored.inc();
        self.measure();
        Ok(stored)
    }

    /// Returns what those that wait may have of an answer: it has to be good without asking the origin again.
    pub(crate) fn landing(&self, stored: &Arc<Stored>, now: Timestamp) -> Landing {
        match stored.part.is_none() && self.is_fresh(stored, &Asked::default(), now) {
            true => Landing::Ready(stored.clone(), None),
            false => Landing::Alone,
        }
    }

    /// Finishes an answer that is not from the store.
    pub(crate) fn own(
        &self,
        policy: &Policy,
        mut response: Response<Body>,
        outcome: Outcome,
        why: Why,
    ) -> Response<Body> {
        self.metrics.count(outcome);
        let headers = response.headers_mut();
        headers.remove(&policy.tag_header);
        if policy.surrogate {
            headers.remove("surrogate-control");
        }
        if policy.cache_status {
            note(headers, outcome, why, None);
        }
        response.extensions_mut().insert(outcome);
        response
    }
}

/// Returns the request for the origin, and whether it asks if a stored answer is still good.
fn outbound(job: &Job, stale: Option<&Stored>) -> (Request<Body>, bool) {
    let mut parts = job.parts.clone();
    strip_unkeyed(&mut parts.headers, &job.policy);
    strip_query(&mut parts.uri, &job.policy);
    announce(&mut parts.headers, &job.policy);
    let validating = match stale {
        Some(stale) if !job.head && stale.part.is_none() => validate(&mut parts.headers, &stale.headers),
        _ => false,
    };
    (Request::from_parts(parts, Body::empty()), validating)
}

/// Returns the name of a fetch: the key, and what selects among its answers.
fn seat(job: &Job, names: &[HeaderName]) -> Box<[u8]> {
    let values = selecting(names, &job.parts.headers);
    let length = (values.len() as u64).to_be_bytes();
    [&job.key, values.as_slice(), &length].concat().into_boxed_slice()
}

fn length(head: &response::Parts, body: &Body) -> Option<u64> {
    let stated = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bare = head.status == StatusCode::NO_CONTENT;
    stated.filter(|_| !bare).or_else(|| body.size_hint().exact())
}

pub(crate) fn asking<'a>(job: &'a Job, now: Timestamp, outcome: Outcome) -> Asking<'a> {
    Asking { policy: &job.policy, request: &job.parts.headers, head: job.head, now, outcome, why: job.why }
}

fn is_spare(stored: &Stored, job: &Job, now: Timestamp) -> bool {
    !stored.is_dead() && may_stand_in(&stored.meta, &job.asked, now)
}

pub(crate) fn land(leader: Option<&Leader>, landing: Landing) {
    if let Some(leader) = leader {
        leader.land(landing);
    }
}
