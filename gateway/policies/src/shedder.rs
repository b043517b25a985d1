//! Load shedding: how many requests are worked on at a time adapts to how long they take. Each route is
//! measured against its own latency when there was room; where the mean ratio exceeds the tolerance the limit
//! shrinks in proportion, where requests press against it and are quick it grows by its square root (the
//! gradient algorithm). After long pressure the limit is lowered for a moment to measure again what is normal.
//! Nothing is queued. Not for rates per client, and not for streams once their head is sent.

mod core;
mod fair;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kernel::{Error, Result, TenantId};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use self::core::{Core, RouteId};
use self::fair::Tenants;
use crate::wrong;

/// How much a route matters when not all can be served.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Health, metrics, administration: always let in.
    Critical,
    /// Let in up to the limit.
    #[default]
    Normal,
    /// Let in up to a share of the limit, so that it goes first.
    Sheddable,
}

/// How many requests may be worked on at a time.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ShedderConfig {
    /// Never fewer at a time.
    pub min_concurrency: u32,
    /// Never more at a time.
    pub max_concurrency: u32,
    /// How many at the start.
    pub initial_concurrency: u32,
    /// By how much longer than normal requests may take, in percent of normal.
    pub tolerance_percent: u32,
    /// For how long latencies are gathered before the limit changes.
    pub window_ms: u64,
    /// After how much pressure without relief normal latencies are measured again.
    pub probe_seconds: u64,
    /// Which share of the limit sheddable routes may fill.
    pub sheddable_percent: u32,
    /// When a refused client should come again.
    pub retry_after_seconds: u32,
}

impl Default for ShedderConfig {
    fn default() -> Self {
        Self {
            min_concurrency: 8,
            max_concurrency: 4_096,
            initial_concurrency: 128,
            tolerance_percent: 200,
            window_ms: 100,
            probe_seconds: 20,
            sheddable_percent: 75,
            retry_after_seconds: 1,
        }
    }
}

impl ShedderConfig {
    /// Says what is wrong with it, if anything.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: &str| Err(wrong(format!("shedding: {why}")));
        let range = self.min_concurrency.max(1)..=self.max_concurrency;
        if self.min_concurrency == 0 || self.max_concurrency > 1_000_000 || !range.contains(&self.initial_concurrency) {
            return refuse("1 <= min_concurrency <= initial_concurrency <= max_concurrency <= 1,000,000 must hold");
        }
        if !(110..=1_000).contains(&self.tolerance_percent) {
            return refuse("tolerance_percent must be 110 to 1000");
        }
        if !(10..=10_000).contains(&self.window_ms) || !(1..=3_600).contains(&self.probe_seconds) {
            return refuse("window_ms must be 10 to 10,000 and probe_seconds 1 to 3600");
        }
        if !(1..=100).contains(&self.sheddable_percent) {
            return refuse("sheddable_percent must be 1 to 100");
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    shedder: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    shedder: String,
    outcome: &'static str,
}

/// All shedders of a process, by name: made once, kept through reloads. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shedders {
    by_name: Arc<Mutex<HashMap<String, Arc<Shedder>>>>,
    limits: Family<Labels, Gauge>,
    outcomes: Family<OutcomeLabels, Counter>,
}

/// What one name guards: a process, an upstream.
pub struct Shedder {
    state: Mutex<State>,
    limit: Gauge,
    admitted: Counter,
    shed: Counter,
}

struct State {
    core: Core,
    tenants: Tenants,
    retry_after: u32,
}

/// A route's hold on its shedder.
#[derive(Clone)]
pub struct Shed {
    shedder: Arc<Shedder>,
    route: RouteId,
    priority: Priority,
}

/// A request that was let in. Dropping it makes room, [`Admission::answered`] also tells how long it took.
pub struct Admission {
    shedder: Arc<Shedder>,
    route: RouteId,
    tenant: Option<TenantId>,
    began: Instant,
    /// Whether it counts, which a critical one does not.
    counted: bool,
    /// The probe it was let in by.
    probe: Option<u64>,
}

impl Shedders {
    /// Returns no shedders yet.
    pub fn new(registry: &mut Registry) -> Self {
        let shedders = Self::default();
        registry.register("shedder_limit", "Requests that may be worked on at a time", shedders.limits.clone());
        registry.register("shedder_requests", "Requests by what load shedding did", shedders.outcomes.clone());
        shedders
    }

    /// Returns a route's hold on the shedder of this name, which takes on the configuration.
    pub fn compile(&self, name: &str, config: &ShedderConfig, route: &str, priority: Priority) -> Result<Shed> {
        config.check()?;
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let shedder = by_name.entry(name.to_owned()).or_insert_with(|| {
            let outcome =
                |outcome| self.outcomes.get_or_create_owned(&OutcomeLabels { shedder: name.to_owned(), outcome });
            Arc::new(Shedder {
                state: Mutex::new(State {
                    core: Core::new(config, Instant::now()),
                    tenants: Tenants::default(),
                    retry_after: config.retry_after_seconds,
                }),
                limit: self.limits.get_or_create_owned(&Labels { shedder: name.to_owned() }),
                admitted: outcome("admitted"),
                shed: outcome("shed"),
            })
        });
        let mut state = shedder.lock();
        state.core.configure(config);
        state.retry_after = config.retry_after_seconds;
        let route = state.core.route(route);
        shedder.limit.set(state.core.limit() as i64);
        drop(state);
        Ok(Shed { shedder: shedder.clone(), route, priority })
    }
}

impl Shedder {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shed {
    /// Lets a request in, or turns it away. A tenant that has less than its share of what is worked on is let in
    /// where one that has more is turned away.
    pub fn admit(&self, tenant: Option<TenantId>, now: Instant) -> Result<Admission> {
        let mut admission = Admission {
            shedder: self.shedder.clone(),
            route: self.route,
            tenant,
            began: now,
            counted: self.priority != Priority::Critical,
            probe: None,
        };
        if !admission.counted {
            return Ok(admission);
        }
        let mut state = self.shedder.lock();
        let room = state.core.room(self.priority, now);
        let in_flight = state.core.in_flight();
        let fair = in_flight < room || tenant.is_some_and(|tenant| state.tenants.has_less_than_its_share(tenant, room));
        if !fair {
            state.core.turned_away();
            let seconds = state.retry_after;
            drop(state);
            admission.counted = false;
            self.shedder.shed.inc();
            let message = "too many requests at once; try again shortly";
            return Err(Error::unavailable("gateway.overloaded", message).retry_after(seconds));
        }
        admission.probe = state.core.admitted();
        if let Some(tenant) = tenant {
            state.tenants.add(tenant);
        }
        drop(state);
        self.shedder.admitted.inc();
        Ok(admission)
    }
}

impl Admission {
    /// Tells that the head of the answer is there. Only what the service did itself is told: an answer from a
    /// cache or a failure says nothing of how busy it is; for those, drop the admission.
    pub fn answered(mut self, now: Instant) {
        if self.counted {
            let took = now.saturating_duration_since(self.began);
            let mut state = self.shedder.lock();
            state.core.answered(self.route, took, self.probe, now);
            self.shedder.limit.set(state.core.limit() as i64);
            leave(&mut state, self.tenant);
            self.counted = false;
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.counted {
            leave(&mut self.shedder.lock(), self.tenant);
        }
    }
}

fn leave(state: &mut State, tenant: Option<TenantId>) {
    state.core.left();
    if let Some(tenant) = tenant {
        state.tenants.remove(tenant);
    }
}

#[cfg(test)]
#[path = "shedder/tests.rs"]
mod tests;
