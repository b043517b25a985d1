//! How many deliveries are on their way to one endpoint from this process, and how fast they may
//! follow one another. An endpoint that is slow keeps its own deliveries waiting, in the queue and
//! not in the workers, and all that fail have a few workers between them. Not for what is remembered
//! of failures: see `standing`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernel::Timestamp;
use tokio::sync::Notify;

use crate::endpoint::EndpointId;
use crate::schedule::until;

/// How many deliveries are on their way to one endpoint at the same time, once it has taken one.
const AT_ONCE: usize = 4;
/// How many deliveries are on their way to endpoints that failed the last time, to all of them together:
/// each may take as long as an attempt may, and those that work must not wait for workers.
const FAILING_AT_ONCE: usize = 4;
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
    /// How many deliveries to failing endpoints are on their way.
    failing: usize,
}

struct Lane {
    busy: usize,
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
    endpoint: EndpointId,
    failing: bool,
    since: Instant,
}

impl Lanes {
    /// Asks for a place, and waits a moment for one. `rate` is how many a second the endpoint takes, if
    /// it said so; `failing` is whether it failed the last time, in any process.
    pub(crate) async fn enter(
        &self,
        endpoint: EndpointId,
        rate: Option<u32>,
        failing: bool,
        now: Timestamp,
    ) -> Admission {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            // Before looking, so that a place that is given back in between is heard of.
            freed.as_mut().enable();
            if let Some(permit) = self.admit(endpoint, rate, failing, now) {
                return Admission::Go(permit);
            }
            let hopeless = failing || rate.is_some();
            if hopeless || tokio::time::timeout_at(deadline, freed).await.is_err() || self.refuses(endpoint) {
                return Admission::Wait(self.turn(endpoint, rate, now));
            }
        }
    }

    /// Says whether the endpoint has failed meanwhile: who waits for it has to look at how it is doing.
    fn refuses(&self, endpoint: EndpointId) -> bool {
        self.lock().lanes.get(&endpoint).is_some_and(|lane| lane.refused)
    }

    fn admit(&self, endpoint: EndpointId, rate: Option<u32>, failing: bool, now: Timestamp) -> Option<Permit> {
        let mut traffic = self.lock();
        let traffic = &mut *traffic;
        if traffic.lanes.len() >= REMEMBERED {
            traffic.lanes.retain(|_, lane| lane.busy > 0 || lane.due > now);
        }
        let lane = traffic.lanes.entry(endpoint).or_insert_with(|| Lane::new(now));
        let gap = gap(rate);
        // A second's worth may go at once.
        let early = gap.map_or(Duration::ZERO, |gap| Duration::from_secs(1) - gap);
        let in_rate = gap.is_none() || lane.due.minus(early) <= now;
        // One delivery shows whether an endpoint works; the others need not find out as well.
        let at_once = if lane.proven && !failing { AT_ONCE } else { 1 };
        let room = lane.busy < at_once && (!failing || traffic.failing < FAILING_AT_ONCE);
        if !(room && in_rate) {
            return None;
        }
        lane.busy += 1;
        lane.due = lane.due.max(now).plus(gap.unwrap_or_default());
        traffic.failing += usize::from(failing);
        Some(Permit { lanes: self.clone(), endpoint, failing, since: Instant::now() })
    }

    /// Says when to come back: one after another, as fast as the endpoint has been.
    fn turn(&self, endpoint: EndpointId, rate: Option<u32>, now: Timestamp) -> Duration {
        let mut traffic = self.lock();
        let lane = traffic.lanes.entry(endpoint).or_insert_with(|| Lane::new(now));
        let at_once = if lane.proven { AT_ONCE } else { 1 };
        let pace = (lane.usual / at_once as u32).max(gap(rate).unwrap_or_default()).max(SHORTEST);
        lane.last = lane.last.max(now).plus(pace).min(now.plus(LONGEST));
        until(now, lane.last).unwrap_or(SHORTEST)
    }

    fn lock(&self) -> MutexGuard<'_, Traffic> {
        self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn new(now: Timestamp) -> Self {
        Self { busy: 0, proven: false, refused: false, due: now, last: now, usual: Duration::from_millis(200) }
    }
}

/// Returns the time between two messages at this rate.
fn gap(rate: Option<u32>) -> Option<Duration> {
    rate.map(|rate| Duration::from_secs(1) / rate.max(1))
}

impl Permit {
    /// Notes whether the endpoint took what it got.
    pub(crate) fn note(&self, taken: bool) {
        if let Some(lane) = self.lanes.lock().lanes.get_mut(&self.endpoint) {
            (lane.proven, lane.refused) = (taken, !taken);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut traffic = self.lanes.lock();
        traffic.failing -= usize::from(self.failing);
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

    fn proven(lanes: &Lanes) -> EndpointId {
        let endpoint = EndpointId::new();
        lanes.admit(endpoint, None, false, START).expect("the first may go").note(true);
        endpoint
    }

    #[test]
    fn four_go_at_once_and_the_others_come_back_one_after_another() {
        let lanes = Lanes::default();
        let (slow, quick) = (proven(&lanes), EndpointId::new());
        let admit = |endpoint| lanes.admit(endpoint, None, false, START);
        let mut going: Vec<Permit> = (0..6).filter_map(|_| admit(slow)).collect();
        assert_eq!(going.len(), AT_ONCE);
        let later: Vec<Duration> = (0..3).map(|_| lanes.turn(slow, None, START)).collect();
        assert!(later.is_sorted_by(|one, next| one < next), "{later:?}");
        assert!(admit(quick).is_some(), "another endpoint has a lane of its own");
        going.pop();
        assert!(admit(slow).is_some());
    }

    #[test]
    fn one_goes_until_an_endpoint_has_taken_one() {
        let (lanes, endpoint) = (Lanes::default(), EndpointId::new());
        let admit = || lanes.admit(endpoint, None, false, START);
        let first = admit().expect("the first may go");
        assert!(admit().is_none());
        first.note(true);
        let second = admit();
        assert!(second.is_some());
        first.note(false);
        assert!(admit().is_none());
    }

    #[test]
    fn those_that_fail_share_a_few_places() {
        let lanes = Lanes::default();
        let admit = |failing| lanes.admit(EndpointId::new(), None, failing, START);
        let going: Vec<Permit> = (0..10).filter_map(|_| admit(true)).collect();
        assert_eq!(going.len(), FAILING_AT_ONCE);
        assert!(admit(false).is_some());
        drop(going);
        assert!(admit(true).is_some());
    }

    #[test]
    fn a_rate_is_kept() {
        let lanes = Lanes::default();
        let endpoint = proven(&lanes);
        let sent = (0..40_i64).filter(|step| {
            let now = START.plus(Duration::from_millis(100 * step.unsigned_abs()));
            lanes.admit(endpoint, Some(2), false, now).is_some()
        });
        // Four seconds at two a second, and a second's worth before.
        assert!((8..=10).contains(&sent.count()));
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_is_taken_at_once() {
        let (lanes, endpoint) = (Lanes::default(), EndpointId::new());
        let first = lanes.admit(endpoint, None, false, START).expect("the first may go");
        let (waiting, giving) = (lanes.enter(endpoint, None, false, START), async { drop(first) });
        let (entered, ()) = tokio::join!(waiting, giving);
        assert!(matches!(entered, Admission::Go(_)));
        assert!(matches!(lanes.enter(endpoint, None, true, START).await, Admission::Wait(_)), "failing: no waiting");
        let (waiting, failing) = (lanes.enter(endpoint, None, false, START), async {
            let Admission::Go(permit) = entered else { panic!("it entered") };
            permit.note(false);
        });
        assert!(matches!(tokio::join!(waiting, failing).0, Admission::Wait(_)), "it failed meanwhile");
    }
}
