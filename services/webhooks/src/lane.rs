//! How many deliveries are on their way to one endpoint from this process, and how fast they may
//! follow one another. An endpoint that is slow keeps its own deliveries waiting, in the queue and
//! not in the workers; all that fail have a few workers between them, and so have all that have not
//! shown yet that they work, a tenant two of each. Not for what is remembered of failures: see `standing`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::{TenantId, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::endpoint::EndpointId;
use crate::schedule::until;

/// How many deliveries are on their way to one endpoint at the same time, once it has taken one.
const AT_ONCE: usize = 4;
/// How many deliveries are on their way to endpoints that failed the last time, to all of them together:
/// each may take as long as an attempt may, and those that work must not wait for workers.
const FAILING_AT_ONCE: usize = 4;
/// How many are on their way to endpoints that have not taken one from this process yet, to all of them
/// together: half of the usual number of workers, since nobody knows how long they take.
const UNPROVEN_AT_ONCE: usize = 8;
/// How many of either a tenant may have on their way, so that it takes more than two to fill the places.
const TENANT_AT_ONCE: usize = 2;
/// What waits comes back no sooner than this, so that waiting costs little.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(600);
/// An endpoint that works is soon free again: waiting for it costs less than a way through the queue.
const PATIENCE: Duration = Duration::from_secs(1);
/// Beyond so many endpoints, those that are idle are forgotten.
const REMEMBERED: usize = 10_000;

/// The lanes of all endpoints.
#[derive(Clone, Default)]
pub(crate) struct Lanes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    traffic: Mutex<Traffic>,
    /// Rings whenever a place is given back.
    freed: Notify,
}

#[derive(Default)]
struct Traffic {
    lanes: HashMap<EndpointId, Lane>,
    /// The deliveries to failing endpoints that are on their way.
    failing: Places,
    /// Those to endpoints that have not shown that they work.
    unproven: Places,
}

/// Places that endpoints share: since when each tenant has its own.
#[derive(Default)]
struct Places(HashMap<TenantId, Vec<Instant>>);

/// Which places a delivery has one of, beside its lane's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Proven,
    Unproven,
    Failing,
}

struct Lane {
    busy: usize,
    /// What it leads to: another URL has shown nothing.
    url: String,
    /// Whether it took the last delivery that it got from this process.
    proven: bool,
    /// Whether it did not take the last one.
    refused: bool,
    /// When the rate would be kept exactly, were the next one sent then.
    due: Timestamp,
    /// When the last of those that were sent away comes back.
    last: Timestamp,
    /// How long a delivery usually takes.
    usual: Duration,
}

/// A delivery that wants to go.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub tenant: TenantId,
    pub endpoint: EndpointId,
    pub url: &'a str,
    /// How many a second the endpoint takes, if it said so.
    pub rate: Option<u32>,
    /// Whether it failed the last time, in any process.
    pub failing: bool,
}

/// Whether a delivery may go.
pub(crate) enum Admission {
    /// It may; the lane is taken until this is dropped.
    Go(Permit),
    /// Not now; its turn comes about then.
    Wait(Duration),
}

/// A place in a lane.
pub(crate) struct Permit {
    lanes: Lanes,
    tenant: TenantId,
    endpoint: EndpointId,
    url: String,
    class: Class,
    since: Instant,
}

impl Places {
    fn has_room(&self, tenant: TenantId, most: usize) -> bool {
        let taken: usize = self.0.values().map(Vec::len).sum();
        taken < most && self.0.get(&tenant).is_none_or(|own| own.len() < TENANT_AT_ONCE)
    }

    fn take(&mut self, tenant: TenantId, since: Instant) {
        self.0.entry(tenant).or_default().push(since);
    }

    fn give_back(&mut self, tenant: TenantId, since: Instant) {
        let Some(own) = self.0.get_mut(&tenant) else { return };
        if let Some(place) = own.iter().position(|taken| *taken == since) {
            own.swap_remove(place);
        }
        if own.is_empty() {
            self.0.remove(&tenant);
        }
    }

    fn oldest(&self, tenant: TenantId) -> Option<Instant> {
        self.0.get(&tenant)?.iter().min().copied()
    }
}

impl Traffic {
    /// Returns the lane of an endpoint as it leads now.
    fn lane(&mut self, asking: Asking<'_>, now: Timestamp) -> &mut Lane {
        let lane = self.lanes.entry(asking.endpoint).or_insert_with(|| Lane::new(asking.url, now));
        if lane.url != asking.url {
            lane.url = asking.url.to_owned();
            (lane.proven, lane.refused) = (false, false);
        }
        lane
    }

    /// Returns the places that a class shares.
    fn places(&mut self, class: Class) -> Option<(&mut Places, usize)> {
        match class {
            Class::Proven => None,
            Class::Unproven => Some((&mut self.unproven, UNPROVEN_AT_ONCE)),
            Class::Failing => Some((&mut self.failing, FAILING_AT_ONCE)),
        }
    }
}

impl Lanes {
    /// Asks for a place, and waits a moment for one where that is likely to help.
    pub(crate) async fn enter(&self, asking: Asking<'_>, now: Timestamp) -> Admission {
        let arrived = Instant::now();
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            // Before looking, so that a place that is given back in between is heard of.
            freed.as_mut().enable();
            if let Some(permit) = self.admit(asking, now) {
                return Admission::Go(permit);
            }
            let Some(deadline) = self.patience(asking, arrived, now) else {
                return Admission::Wait(self.turn(asking, now));
            };
            if tokio::time::timeout_at(deadline, freed).await.is_err() || self.refuses(asking.endpoint) {
                return Admission::Wait(self.turn(asking, now));
            }
        }
    }

    /// Says until when it makes sense to wait for a place. What goes to unproven endpoints is soon through,
    /// or nobody knows when: then it must not keep workers waiting as well.
    fn patience(&self, asking: Asking<'_>, arrived: Instant, now: Timestamp) -> Option<Instant> {
        let mut traffic = self.lock();
        if asking.failing || asking.rate.is_some() {
            return None;
        }
        let since = if traffic.lane(asking, now).proven { arrived } else { traffic.unproven.oldest(asking.tenant)? };
        Some(since.min(arrived) + PATIENCE)
    }

    /// Says whether the endpoint has failed meanwhile: who waits for it has to look at how it is doing.
    fn refuses(&self, endpoint: EndpointId) -> bool {
        self.lock().lanes.get(&endpoint).is_some_and(|lane| lane.refused)
    }

    fn admit(&self, asking: Asking<'_>, now: Timestamp) -> Option<Permit> {
        let Asking { tenant, endpoint, url, rate, failing } = asking;
        let mut traffic = self.lock();
        if traffic.lanes.len() >= REMEMBERED {
            traffic.lanes.retain(|_, lane| lane.busy > 0 || lane.due > now);
        }
        let lane = traffic.lane(asking, now);
        let gap = gap(rate);
        // A second's worth may go at once.
        let early = gap.map_or(Duration::ZERO, |gap| Duration::from_secs(1) - gap);
        let in_rate = gap.is_none() || lane.due.minus(early) <= now;
        let class = match (failing, lane.proven) {
            (true, _) => Class::Failing,
            (false, true) => Class::Proven,
            (false, false) => Class::Unproven,
        };
        // One delivery shows whether an endpoint works; the others need not find out as well.
        let at_once = if class == Class::Proven { AT_ONCE } else { 1 };
        let mut room = lane.busy < at_once;
        if let Some((places, most)) = traffic.places(class) {
            room &= places.has_room(tenant, most);
        }
        if !(room && in_rate) {
            return None;
        }
        let since = Instant::now();
        if let Some((places, _)) = traffic.places(class) {
            places.take(tenant, since);
        }
        let lane = traffic.lane(asking, now);
        lane.busy += 1;
        lane.due = lane.due.max(now).plus(gap.unwrap_or_default());
        Some(Permit { lanes: self.clone(), tenant, endpoint, url: url.to_owned(), class, since })
    }

    /// Says when to come back: one after another, as fast as the endpoint has been.
    fn turn(&self, asking: Asking<'_>, now: Timestamp) -> Duration {
        let mut traffic = self.lock();
        let lane = traffic.lane(asking, now);
        let at_once = if lane.proven { AT_ONCE } else { 1 };
        let pace = (lane.usual / at_once as u32).max(gap(asking.rate).unwrap_or_default()).max(SHORTEST);
        lane.last = lane.last.max(now).plus(pace).min(now.plus(LONGEST));
        until(now, lane.last).unwrap_or(SHORTEST)
    }

    fn lock(&self) -> MutexGuard<'_, Traffic> {
        self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn new(url: &str, now: Timestamp) -> Self {
        let usual = Duration::from_millis(200);
        Self { busy: 0, url: url.to_owned(), proven: false, refused: false, due: now, last: now, usual }
    }
}

/// Returns the time between two messages at this rate.
fn gap(rate: Option<u32>) -> Option<Duration> {
    rate.map(|rate| Duration::from_secs(1) / rate.max(1))
}

impl Permit {
    /// Notes whether the endpoint took what it got.
    pub(crate) fn note(&self, taken: bool) {
        if let Some(lane) = self.lanes.lock().lanes.get_mut(&self.endpoint)
            && lane.url == self.url
        {
            (lane.proven, lane.refused) = (taken, !taken);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut traffic = self.lanes.lock();
        if let Some((places, _)) = traffic.places(self.class) {
            places.give_back(self.tenant, self.since);
        }
        if let Some(lane) = traffic.lanes.get_mut(&self.endpoint) {
            lane.busy = lane.busy.saturating_sub(1);
            lane.usual = (lane.usual * 3 + self.since.elapsed()) / 4;
        }
        drop(traffic);
        self.lanes.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn asking(tenant: TenantId, endpoint: EndpointId) -> Asking<'static> {
        Asking { tenant, endpoint, url: "https://example.com/", rate: None, failing: false }
    }

    fn to(endpoint: EndpointId) -> Asking<'static> {
        asking(TenantId::new(), endpoint)
    }

    fn proven(lanes: &Lanes) -> EndpointId {
        let endpoint = EndpointId::new();
        lanes.admit(to(endpoint), START).expect("the first may go").note(true);
        endpoint
    }

    #[test]
    fn four_go_at_once_and_the_others_come_back_one_after_another() {
        let lanes = Lanes::default();
        let (slow, quick) = (proven(&lanes), EndpointId::new());
        let admit = |endpoint| lanes.admit(to(endpoint), START);
        let mut going: Vec<Permit> = (0..6).filter_map(|_| admit(slow)).collect();
        assert_eq!(going.len(), AT_ONCE);
        let later: Vec<Duration> = (0..3).map(|_| lanes.turn(to(slow), START)).collect();
        assert!(later.is_sorted_by(|one, next| one < next), "{later:?}");
        assert!(admit(quick).is_some(), "another endpoint has a lane of its own");
        going.pop();
        assert!(admit(slow).is_some());
    }

    #[test]
    fn one_goes_until_an_endpoint_has_taken_one() {
        let (lanes, endpoint) = (Lanes::default(), EndpointId::new());
        let admit = || lanes.admit(to(endpoint), START);
        let first = admit().expect("the first may go");
        assert!(admit().is_none());
        first.note(true);
        let second = admit();
        assert!(second.is_some());
        first.note(false);
        assert!(admit().is_none());
    }

    #[test]
    fn another_url_has_shown_nothing() {
        let lanes = Lanes::default();
        let endpoint = proven(&lanes);
        let elsewhere = || lanes.admit(Asking { url: "https://elsewhere.example/", ..to(endpoint) }, START);
        let old = lanes.admit(to(endpoint), START).expect("it works");
        assert!(elsewhere().is_none(), "what is on its way shows nothing of the new one");
        old.note(true);
        drop(old);
        let first = elsewhere().expect("one may go");
        assert!(elsewhere().is_none());
        first.note(true);
        assert!(elsewhere().is_some());
    }

    #[test]
    fn those_that_fail_and_those_that_are_new_share_a_few_places() {
        for (failing, most) in [(true, FAILING_AT_ONCE), (false, UNPROVEN_AT_ONCE)] {
            let lanes = Lanes::default();
            let working = proven(&lanes);
            let admit = |tenant| lanes.admit(Asking { failing, ..asking(tenant, EndpointId::new()) }, START);
            let greedy = TenantId::new();
            let own: Vec<Permit> = (0..10).filter_map(|_| admit(greedy)).collect();
            assert_eq!(own.len(), TENANT_AT_ONCE);
            let others: Vec<Permit> = (0..20).filter_map(|_| admit(TenantId::new())).collect();
            assert_eq!(own.len() + others.len(), most);
            assert!(lanes.admit(to(working), START).is_some(), "one that works needs none of them");
            drop(own);
            assert!(admit(TenantId::new()).is_some());
            assert!(lanes.lock().unproven.0.len() <= others.len() + 1, "tenants without a place are forgotten");
        }
    }

    #[test]
    fn nobody_waits_long_for_what_does_not_answer() {
        let (lanes, tenant, working) = (Lanes::default(), TenantId::new(), EndpointId::new());
        lanes.admit(asking(tenant, working), START).expect("the first may go").note(true);
        let silent = lanes.admit(asking(tenant, EndpointId::new()), START).expect("the first may go");
        let late = silent.since + Duration::from_secs(5);
        for endpoint in [silent.endpoint, EndpointId::new()] {
            let until = lanes.patience(asking(tenant, endpoint), late, START);
            assert_eq!(until, Some(silent.since + PATIENCE), "that is past");
        }
        assert_eq!(lanes.patience(asking(tenant, working), late, START), Some(late + PATIENCE));
        assert_eq!(lanes.patience(to(EndpointId::new()), late, START), None, "others fill the places");
    }

    #[test]
    fn a_rate_is_kept() {
        let lanes = Lanes::default();
        let endpoint = proven(&lanes);
        let sent = (0..40_i64).filter(|step| {
            let now = START.plus(Duration::from_millis(100 * step.unsigned_abs()));
            lanes.admit(Asking { rate: Some(2), ..to(endpoint) }, now).is_some()
        });
        // Four seconds at two a second, and a second's worth before.
        assert!((8..=10).contains(&sent.count()));
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_is_taken_at_once() {
        let (lanes, endpoint) = (Lanes::default(), EndpointId::new());
        let asking = to(endpoint);
        let first = lanes.admit(asking, START).expect("the first may go");
        let (waiting, giving) = (lanes.enter(asking, START), async { drop(first) });
        let (entered, ()) = tokio::join!(waiting, giving);
        assert!(matches!(entered, Admission::Go(_)));
        let failing = Asking { failing: true, ..asking };
        assert!(matches!(lanes.enter(failing, START).await, Admission::Wait(_)), "failing: no waiting");
        let (waiting, failing) = (lanes.enter(asking, START), async {
            let Admission::Go(permit) = entered else { panic!("it entered") };
            permit.note(false);
        });
        assert!(matches!(tokio::join!(waiting, failing).0, Admission::Wait(_)), "it failed meanwhile");
    }
}
