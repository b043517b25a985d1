//! What one process has read of the log for one subscription and not dealt with yet: a short queue
//! for each tenant, so that a flood of one tenant neither fills the memory nor stands in the way of
//! others. Not for the database: see `drive`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use kernel::TenantId;
use store::EventRow;

/// How many events of a tenant wait in memory; the rest waits in the log.
const LANE: usize = 100;
/// How many events of all tenants wait in memory.
const AHEAD: usize = 2_048;
/// How many events of a tenant are taken at a time.
pub(crate) const CHUNK: usize = 50;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What waits, tenant by tenant.
#[derive(Default)]
pub(crate) struct Scan {
    /// The log was read up to here.
    pub read: i64,
    lanes: BTreeMap<TenantId, Lane>,
    queued: usize,
    /// Whose turn it was last.
    turn: Option<TenantId>,
    /// What other rounds have dealt with beyond the mark.
    passed: HashMap<TenantId, i64>,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<EventRow>,
    /// What comes after this and was read already is in the log only.
    behind: Option<i64>,
    /// Something was left in the log since the last refill began.
    left: bool,
    /// What is being dealt with comes after this.
    flight: Option<i64>,
    failures: u32,
    not_before: Option<Instant>,
}

/// What to do next for one tenant.
pub(crate) struct Turn {
    pub tenant: TenantId,
    pub events: Vec<EventRow>,
    /// Read them first: those after the first number, as far as the second.
    pub refill: Option<(i64, i64)>,
}

/// What came of a turn.
pub(crate) struct Landed {
    pub tenant: TenantId,
    /// Those that are not dealt with.
    pub rest: Vec<EventRow>,
    /// Whether a refill left more in the log, and where it ended.
    pub refilled: Option<(bool, i64)>,
    pub failed: bool,
}

impl Scan {
    /// Starts at a mark.
    pub(crate) fn at(mark: i64, passed: HashMap<TenantId, i64>) -> Self {
        Self { read: mark, passed, ..Self::default() }
    }

    /// Says whether more may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.queued < AHEAD
    }

    /// Takes what was read up to a position.
    pub(crate) fn take_in(&mut self, events: Vec<EventRow>, upto: i64) {
        for event in events {
            let position = event.position.unwrap_or(0);
            if self.passed.get(&event.tenant_id).is_some_and(|passed| position <= *passed) {
                continue;
            }
            let lane = self.lanes.entry(event.tenant_id).or_default();
            if lane.behind.is_some() {
                lane.left = true;
            } else if lane.queue.len() >= LANE || lane.failures > 0 {
                lane.behind = Some(lane.last_before(position));
                lane.left = true;
            } else {
                lane.queue.push_back(event);
                self.queued += 1;
            }
        }
        self.read = upto;
        if self.passed.values().all(|passed| *passed <= upto) {
            self.passed.clear();
        }
    }

    /// Returns the next tenant's turn, after that of the last.
    pub(crate) fn next_turn(&mut self) -> Option<Turn> {
        let now = Instant::now();
        let after = self.turn.and_then(|turn| {
            let later = self.lanes.range((std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded));
            later.into_iter().find(|(_, lane)| lane.is_ready(now)).map(|(tenant, _)| *tenant)
        });
        let first = || self.lanes.iter().find(|(_, lane)| lane.is_ready(now)).map(|(tenant, _)| *tenant);
        let tenant = after.or_else(first)?;
        self.turn = Some(tenant);
        let (read, lane) = (self.read, self.lanes.get_mut(&tenant)?);
        let events: Vec<EventRow> = lane.queue.drain(..lane.queue.len().min(CHUNK)).collect();
        self.queued -= events.len();
        let refill = match (events.first(), lane.behind) {
            (Some(first), _) => {
                lane.flight = Some(first.position.unwrap_or(0) - 1);
                None
            }
            (None, behind) => {
                lane.flight = behind;
                lane.left = false;
                behind.map(|behind| (behind, read))
            }
        };
        Some(Turn { tenant, events, refill })
    }

    /// Puts back what is left after a turn.
    pub(crate) fn land(&mut self, landed: Landed) {
        let Some(lane) = self.lanes.get_mut(&landed.tenant) else { return };
        lane.flight = None;
        if let Some((more, ended)) = landed.refilled {
            lane.behind = (more || lane.left).then_some(ended);
        }
        self.queued += landed.rest.len();
        for event in landed.rest.into_iter().rev() {
            lane.queue.push_front(event);
        }
        if landed.failed {
            lane.failures += 1;
            let pause = SHORTEST_PAUSE.saturating_mul(1 << lane.failures.min(10)).min(LONGEST_PAUSE);
            lane.not_before = Some(Instant::now() + pause);
            // What cannot be dealt with now waits in the log, and leaves the room to others.
            if let Some(first) = lane.queue.front().and_then(|event| event.position) {
                self.queued -= lane.queue.len();
                lane.queue.clear();
                lane.behind = Some(first - 1);
            }
        } else {
            (lane.failures, lane.not_before) = (0, None);
        }
        if lane.first().is_none() {
            self.lanes.remove(&landed.tenant);
        }
    }

    /// Returns up to where everything is dealt with.
    pub(crate) fn done(&self) -> i64 {
        self.lanes.values().filter_map(Lane::first).min().map_or(self.read, |first| first.min(self.read))
    }

    /// Says whether anything waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Returns when the first pause ends.
    pub(crate) fn next_pause_end(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.not_before).min()
    }
}

impl Lane {
    fn is_ready(&self, now: Instant) -> bool {
        let rested = self.not_before.is_none_or(|moment| moment <= now);
        rested && self.flight.is_none() && (!self.queue.is_empty() || self.behind.is_some())
    }

    /// Returns the position after which something is not dealt with.
    fn first(&self) -> Option<i64> {
        let queued = self.queue.front().and_then(|event| event.position).map(|position| position - 1);
        self.flight.into_iter().chain(queued).chain(self.behind).min()
    }

    /// Returns the last position that is queued, or the one before this.
    fn last_before(&self, position: i64) -> i64 {
        self.queue.back().and_then(|event| event.position).unwrap_or(position - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(tenant: TenantId, position: i64) -> EventRow {
        EventRow {
            seq: position,
            position: Some(position),
            id: kernel::Id::new(),
            tenant_id: tenant,
            kind: "a.b.c".into(),
            subject: "s".into(),
            subject_version: 0,
            actor: "system".into(),
            request_id: "r".into(),
            correlation_id: "r".into(),
            occurred_at: kernel::Timestamp(0),
            data: "{}".into(),
            reason: None,
        }
    }

    /// Deals with all that waits; the log is the list.
    fn run(scan: &mut Scan, log: &[EventRow], dealt: &mut Vec<(TenantId, i64)>) {
        while let Some(turn) = scan.next_turn() {
            assert!(scan.done() < turn.events.first().map_or(i64::MAX, |event| event.position.unwrap()));
            let (events, refilled) = match turn.refill {
                None => (turn.events, None),
                Some((after, upto)) => {
                    let there = log.iter().filter(|event| {
                        event.tenant_id == turn.tenant && event.position > Some(after) && event.position <= Some(upto)
                    });
                    let events: Vec<_> = there.take(CHUNK).cloned().collect();
                    let ended = events.last().map_or(upto, |event| event.position.unwrap());
                    let more = events.len() == CHUNK;
                    (events, Some((more, if more { ended } else { upto })))
                }
            };
            dealt.extend(events.iter().map(|event| (turn.tenant, event.position.unwrap())));
            scan.land(Landed { tenant: turn.tenant, rest: Vec::new(), refilled, failed: false });
        }
    }

    #[test]
    fn a_flood_of_one_tenant_does_not_keep_another_waiting() {
        let (loud, quiet) = (TenantId::new(), TenantId::new());
        let log: Vec<_> = (1..=3_000).map(|n| event(if n == 2_900 { quiet } else { loud }, n)).collect();
        let (mut scan, mut dealt) = (Scan::at(0, HashMap::new()), Vec::new());
        for page in log.chunks(500) {
            assert!(scan.has_room());
            scan.take_in(page.to_vec(), page.last().unwrap().position.unwrap());
        }
        assert_eq!((scan.done(), scan.read), (0, 3_000));
        run(&mut scan, &log, &mut dealt);
        let place = dealt.iter().position(|(tenant, _)| *tenant == quiet).expect("it had its turn");
        assert!(place <= CHUNK, "its turn came after {place} events of the other");
        let of_loud: Vec<_> = dealt.iter().filter(|(tenant, _)| *tenant == loud).map(|(_, n)| *n).collect();
        assert_eq!(
            of_loud,
            (1..=3_000).filter(|n| *n != 2_900).collect::<Vec<_>>(),
            "in order, none twice, none missing"
        );
        assert!(scan.is_empty());
        assert_eq!(scan.done(), 3_000);
    }

    #[test]
    fn what_arrives_during_a_refill_is_not_lost() {
        let tenant = TenantId::new();
        let log: Vec<_> = (1..=151).map(|n| event(tenant, n)).collect();
        let (mut scan, mut dealt) = (Scan::at(0, HashMap::new()), Vec::new());
        scan.take_in(log[..150].to_vec(), 150);
        for _ in 0..2 {
            let turn = scan.next_turn().expect("a turn");
            scan.land(Landed { tenant, rest: Vec::new(), refilled: turn.refill.map(|_| (false, 0)), failed: false });
        }
        let refill = scan.next_turn().expect("a turn");
        assert_eq!(refill.refill, Some((100, 150)));
        scan.take_in(log[150..].to_vec(), 151);
        scan.land(Landed { tenant, rest: Vec::new(), refilled: Some((false, 150)), failed: false });
        assert_eq!(scan.done(), 150);
        run(&mut scan, &log, &mut dealt);
        assert_eq!(dealt, [(tenant, 151)]);
    }

    #[test]
    fn what_failed_waits_in_the_log_and_keeps_the_mark() {
        let (tenant, other) = (TenantId::new(), TenantId::new());
        let log = [event(tenant, 1), event(other, 2), event(tenant, 3)];
        let mut scan = Scan::at(0, HashMap::from([(other, 2)]));
        scan.take_in(log.to_vec(), 3);
        let turn = scan.next_turn().expect("a turn");
        assert_eq!(turn.events.len(), 2);
        scan.land(Landed { tenant, rest: turn.events, refilled: None, failed: true });
        assert!(scan.next_turn().is_none(), "it rests, and the other was dealt with before");
        assert_eq!((scan.done(), scan.queued), (0, 0));
        assert!(scan.next_pause_end().is_some());
    }
}
