//! How many deliveries are on their way to one endpoint from this process, and how fast they may
//! follow one another. An endpoint that is slow keeps its own deliveries waiting, in the queue and
//! not in the workers. Not for failing endpoints: see `standing`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernel::Timestamp;

use crate::endpoint::EndpointId;
use crate::schedule::until;

/// How many deliveries are on their way to one endpoint at the same time.
const AT_ONCE: usize = 4;
/// What waits comes back no sooner than this, so that waiting costs little.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(600);
/// Beyond so many endpoints, those that are idle are forgotten.
const REMEMBERED: usize = 10_000;

/// The lanes of all endpoints.
#[derive(Clone, Default)]
pub(crate) struct Lanes(Arc<Mutex<HashMap<EndpointId, Lane>>>);

struct Lane {
    busy: usize,
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
    since: Instant,
}

impl Lanes {
    /// Asks for a place. `rate` is how many a second the endpoint takes, if it said so.
    pub(crate) fn admit(&self, endpoint: EndpointId, rate: Option<u32>, now: Timestamp) -> Admission {
        let mut lanes = self.lock();
        if lanes.len() >= REMEMBERED {
            lanes.retain(|_, lane| lane.busy > 0 || lane.due > now);
        }
        let fresh = || Lane { busy: 0, due: now, last: now, usual: Duration::from_millis(200) };
        let lane = lanes.entry(endpoint).or_insert_with(fresh);
        let gap = rate.map(|rate| Duration::from_secs(1) / rate.max(1));
        // A second's worth may go at once.
        let early = gap.map_or(Duration::ZERO, |gap| Duration::from_secs(1) - gap);
        let in_rate = gap.is_none() || lane.due.minus(early) <= now;
        if lane.busy < AT_ONCE && in_rate {
            lane.busy += 1;
            lane.due = lane.due.max(now).plus(gap.unwrap_or_default());
            return Admission::Go(Permit { lanes: self.clone(), endpoint, since: Instant::now() });
        }
        // Those that wait come back one after another, as fast as the endpoint has been.
        let pace = (lane.usual / AT_ONCE as u32).max(gap.unwrap_or_default()).max(SHORTEST);
        lane.last = lane.last.max(now).plus(pace).min(now.plus(LONGEST));
        Admission::Wait(until(now, lane.last).unwrap_or(SHORTEST))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(lane) = self.lanes.lock().get_mut(&self.endpoint) {
            lane.busy = lane.busy.saturating_sub(1);
            lane.usual = (lane.usual * 3 + self.since.elapsed()) / 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn waits(admission: &Admission) -> Option<Duration> {
        match admission {
            Admission::Go(_) => None,
            Admission::Wait(wait) => Some(*wait),
        }
    }

    #[test]
    fn four_go_at_once_and_the_others_come_back_one_after_another() {
        let (lanes, slow, quick) = (Lanes::default(), EndpointId::new(), EndpointId::new());
        let mut going: Vec<Admission> = (0..4).map(|_| lanes.admit(slow, None, START)).collect();
        assert!(going.iter().all(|admission| waits(admission).is_none()));
        let later: Vec<Duration> = (0..3).filter_map(|_| waits(&lanes.admit(slow, None, START))).collect();
        assert!(later.len() == 3 && later.is_sorted_by(|one, next| one < next), "{later:?}");
        assert!(waits(&lanes.admit(quick, None, START)).is_none(), "another endpoint has a lane of its own");
        going.pop();
        assert!(waits(&lanes.admit(slow, None, START)).is_none());
    }

    #[test]
    fn a_rate_is_kept() {
        let (lanes, endpoint) = (Lanes::default(), EndpointId::new());
        let sent = (0..40_i64).filter(|step| {
            let now = START.plus(Duration::from_millis(100 * step.unsigned_abs()));
            waits(&lanes.admit(endpoint, Some(2), now)).is_none()
        });
        // Four seconds at two a second, and a second's worth before.
        assert!((8..=10).contains(&sent.count()));
    }
}
