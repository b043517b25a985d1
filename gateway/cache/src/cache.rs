//! The cache and the way of a request through it. Not for fetching; see `fill`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;
use kernel::{Clock, Error, Result, TenantId, Timestamp};
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use crate::conditional;
use crate::config::Config;
use crate::directives::Asked;
use crate::flight::Flights;
use crate::key::{self, Class, Key, Scope};
use crate::memory::{Memory, Resource};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::redis_tier::RedisTier;
use crate::select::{Use, choose};
use crate::stored::{Asking, Outcome, Stored, Why};
use crate::tag::{self, Tag};

/// The cache of all cores and routes. Cloning it is cheap.
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub clock: Clock,
    pub memory: Arc<Memory>,
    pub flights: Arc<Flights>,
    pub metrics: Metrics,
    pub wait: Duration,
    pub hit_for_miss: Duration,
    pub fill_idle: Duration,
    pub redis: Option<RedisTier>,
}

/// What a request's route and caller are to the cache.
pub struct Route<'a> {
    /// The route's policy.
    pub policy: &'a Arc<Policy>,
    /// Whose answers the caller may be given.
    pub scope: &'a Scope,
    /// Returns a parameter of the path, for the route's tags; asked only where something is fetched.
    pub parameter: &'a dyn Fn(&str) -> Option<String>,
}

/// A request that the origin is asked for.
pub(crate) struct Job {
    pub policy: Arc<Policy>,
    pub scope: Scope,
    pub tags: Vec<Tag>,
    pub parts: Parts,
    pub head: bool,
    pub asked: Asked,
    pub key: Key,
    pub why: Why,
}

impl Cache {
    /// Returns an empty cache.
    ///
    /// What is shared through Redis is done on this runtime, and ends with the last clone.
    pub fn new(config: &Config, clock: Clock, runtime: &Handle) -> Result<Self> {
        config.check()?;
        let memory = Arc::new(Memory::new(config.memory_bytes));
        let start = |redis| {
            let memory = memory.clone();
            let heard = move |tenant, tags: &[Tag]| match tags {
                [] => memory.clear(),
                tags => drop(memory.invalidate(tenant, tags)),
            };
            RedisTier::start(redis, clock.clone(), runtime, Box::new(heard))
        };
        Ok(Self(Arc::new(Inner {
            redis: config.redis.as_ref().map(start).transpose()?,
            clock: clock.clone(),
            memory: memory.clone(),
            flights: Arc::new(Flights::new()),
            metrics: Metrics::new(),
            wait: Duration::from_millis(config.wait_ms),
            hit_for_miss: Duration::from_millis(config.hit_for_miss_ms),
            fill_idle: Duration::from_millis(config.fill_idle_ms),
        })))
    }

    /// Adds what the cache counts to the process's metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }

    /// Answers a request from the store, or with what `fetch` brings; the outcome is an extension of the answer.
    ///
    /// Runs in a LocalSet. Requests of every method belong here: those that change something invalidate.
    pub async fn answer<F, Fut>(&self, route: &Route<'_>, request: Request<Body>, fetch: F) -> Result<Response<Body>>
    where
        F: Fn(Request<Body>) -> Fut + 'static,
        Fut: Future<Output = Result<Response<Body>>> + 'static,
    {
        let policy = route.policy;
        let head = request.method() == Method::HEAD;
        if !(head && policy.head || request.method() == Method::GET && policy.get) {
            return self.0.write_through(route, request, &fetch).await;
        }
        let asked = if policy.client_directives { Asked::of(request.headers()) } else { Asked::default() };
        if asked.no_store || !is_plain(&request) {
            return self.0.pass(policy, request, &fetch).await;
        }
        let (parts, _) = request.into_parts();
        let now = self.0.clock.now();
        let (found, key) = key::with(policy, route.scope, &parts, |key| match self.0.memory.get(key) {
            Some(resource) => (Some(resource), None),
            None => (None, Some(Key::from(key))),
        });
        let selected = found.as_ref().and_then(|resource| resource.select(&parts.headers));
        let mut why = why(found.as_ref(), selected, &parts.headers);
        if let Some(stored) = selected {
            let asking = |outcome| Asking { policy, request: &parts.headers, head, now, outcome, why: Why::Not };
            match choose(&stored.meta, &asked, now, self.0.trusted()) {
                Use::Fresh => return Ok(self.0.give(stored, &asking(Outcome::Hit))),
                Use::Stale => return Ok(self.0.give(stored, &asking(Outcome::Stale))),
                Use::Renew => {
                    let response = self.0.give(stored, &asking(Outcome::Stale));
                    if stored.claim_refresh(now) {
                        let mut parts = parts.clone();
                        parts.method = Method::GET;
                        let job = job(route, parts, asked, stored.key.clone(), Why::Stale);
                        self.0.clone().refresh(job, stored.clone(), fetch);
                    }
                    return Ok(response);
                }
                Use::Validate if asked != Asked::default() && !is_stale(stored, now) => why = Why::Request,
                Use::Validate => {}
            }
        }
        if asked.only_if_cached {
            let error = Error::unavailable("gateway.not_cached", "there is no stored answer, and no other was wanted");
            return Err(error.status_code(504));
        }
        let selected = selected.cloned();
        let key = key.or_else(|| found.as_ref().and_then(Resource::key)).expect("an entry has at least one answer");
        let job = job(route, parts, asked, key, why);
        self.0.clone().miss(job, selected, found, fetch).await
    }

    /// Invalidates what carries any of these tags, for this tenant (`None`: in the answers that all share). When this
    /// returns nothing of it is given any more, and nothing that is being fetched right now will be stored.
    pub fn invalidate(&self, tenant: Option<TenantId>, tags: &[&str]) -> usize {
        let tags: Vec<Tag> = tags.iter().map(|name| tag::named(name)).collect();
        self.0.invalidate(tenant, &tags)
    }

    /// Invalidates everything that was fetched for callers of this class: their rights have changed.
    pub fn invalidate_scope(&self, tenant: Option<TenantId>, class: &Class) -> usize {
        self.0.invalidate(tenant, &[tag::class(class)])
    }

    /// Invalidates everything of a tenant.
    pub fn invalidate_tenant(&self, tenant: Option<TenantId>) -> usize {
        self.0.invalidate(tenant, &[tag::all()])
    }

    /// Invalidates everything, of all tenants and in Redis too. When this returns nothing of before is given any more,
    /// and nothing that is being fetched right now will be stored.
    pub fn clear(&self) {
        self.0.memory.clear();
        if let Some(redis) = &self.0.redis {
            redis.invalidate(None, &[]);
        }
        self.0.measure();
    }

    /// Returns how many keys and bytes are in memory.
    pub fn size(&self) -> (usize, u64) {
        (self.0.memory.len(), self.0.memory.bytes())
    }
}

impl Inner {
    /// Gives a stored answer.
    pub(crate) fn give(&self, stored: &Stored, asking: &Asking<'_>) -> Response<Body> {
        self.metrics.count(asking.outcome);
        stored.answer(asking, None)
    }

    pub(crate) fn invalidate(&self, tenant: Option<TenantId>, tags: &[Tag]) -> usize {
        let count = self.memory.invalidate(tenant, tags);
        if let Some(redis) = &self.redis {
            redis.invalidate(tenant, tags);
        }
        self.metrics.invalidated.inc_by(count as u64);
        self.measure();
        count
    }

    pub(crate) fn measure(&self) {
        self.metrics.entries.set(self.memory.len() as i64);
        self.metrics.bytes.set(self.memory.bytes() as i64);
    }
}

/// Says whether the answer could be for others too: what has a body, asks for another protocol, or has a condition
/// that only the origin can check, is for its caller.
fn is_plain(request: &Request<Body>) -> bool {
    request.body().is_end_stream()
        && !request.headers().contains_key(UPGRADE)
        && !conditional::is_for_origin(request.headers())
}

fn is_stale(stored: &Stored, now: Timestamp) -> bool {
    stored.meta.no_cache || stored.meta.age(now) >= stored.meta.lifetime
}

fn why(found: Option<&Resource>, selected: Option<&Arc<Stored>>, request: &HeaderMap) -> Why {
    match (found, selected) {
        (_, Some(_)) => Why::Stale,
        (Some(resource), None) if !resource.is_alive() => Why::UriMiss,
        (Some(resource), None) if resource.0.iter().any(|stored| stored.vary.matches(request)) => Why::Partial,
        (Some(_), None) => Why::VaryMiss,
        (None, None) => Why::UriMiss,
    }
}

pub(crate) fn job(route: &Route<'_>, parts: Parts, asked: Asked, key: Key, why: Why) -> Job {
    let mut tags = route.policy.own_tags(route.parameter);
    tags.extend([tag::uri(&key), tag::class(route.scope.class_ref()), tag::all()]);
    let head = parts.method == Method::HEAD;
    Job { policy: route.policy.clone(), scope: route.scope.clone(), tags, parts, head, asked, key, why }
}
