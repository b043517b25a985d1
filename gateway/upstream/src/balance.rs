//! Chooses the server for an attempt. Not for whether a server is well: it only asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::config::Balance;
use crate::member::{Member, Members, Slot};
use crate::random::Random;
use crate::upstream::tick;

/// What a choice depends on.
pub(crate) struct Choice<'a> {
    pub balance: Balance,
    pub members: &'a Members,
    pub turn: &'a AtomicUsize,
    pub random: &'a Random,
    /// The moment, and when the upstream's clock began.
    pub now: Instant,
    pub since: Instant,
    /// Servers that were tried for this request.
    pub tried: &'a [u64],
    /// Whether all servers are used when none is well.
    pub panic: bool,
}

impl Choice<'_> {
    fn is_usable(&self, member: &Member) -> bool {
        member.is_usable(|| tick(self.since, self.now))
    }

    /// Returns a server that is well and was not tried; else one that is well; else, in a panic, any.
    pub(crate) fn pick(&self) -> Option<&Arc<Member>> {
        let tried = |member: &Member| self.tried.contains(&member.id);
        if let [only] = &*self.members.slots {
            return (self.panic || self.is_usable(&only.member)).then_some(&only.member);
        }
        self.among(|member| self.is_usable(member) && !tried(member))
            .or_else(|| match self.tried.is_empty() {
                true => None,
                false => self.among(|member| self.is_usable(member)),
            })
            .or_else(|| if self.panic { self.among(|member| !tried(member)) } else { None })
            .or_else(|| if self.panic { self.among(|_| true) } else { None })
    }

    fn among(&self, fits: impl Fn(&Member) -> bool) -> Option<&Arc<Member>> {
        match self.balance {
            Balance::RoundRobin => self.in_turn(fits),
            Balance::LeastConnections => self.least(fits, |slot| {
                f64::from(slot.member.in_flight.load(Ordering::Relaxed) + 1) / f64::from(slot.weight)
            }),
            Balance::P2c => self.better_of_two(fits),
        }
    }

    fn in_turn(&self, fits: impl Fn(&Member) -> bool) -> Option<&Arc<Member>> {
        let turns = &self.members.turns;
        // Second attempts take no turn: with two servers they would take every other one.
        let start = match self.tried.is_empty() {
            true => self.turn.fetch_add(1, Ordering::Relaxed),
            false => self.random.below(turns.len() as u64) as usize,
        };
        (0..turns.len())
            .map(|step| &self.members.slots[usize::from(turns[start.wrapping_add(step) % turns.len()])].member)
            .find(|member| fits(member))
    }

    fn least(&self, fits: impl Fn(&Member) -> bool, cost: impl Fn(&Slot) -> f64) -> Option<&Arc<Member>> {
        let slots = &self.members.slots;
        // Among equals the first one would get everything.
        let start = self.random.below(slots.len() as u64) as usize;
        let mut best: Option<(f64, &Slot)> = None;
        for slot in slots[start..].iter().chain(&slots[..start]) {
            let cost = cost(slot);
            if best.is_none_or(|(least, _)| cost < least) && fits(&slot.member) {
                best = Some((cost, slot));
            }
        }
        best.map(|(_, slot)| &slot.member)
    }

    fn better_of_two(&self, fits: impl Fn(&Member) -> bool) -> Option<&Arc<Member>> {
        let slots = &self.members.slots;
        let cost = |slot: &Slot| {
            slot.member.latency.cost(self.now, slot.member.in_flight.load(Ordering::Relaxed)) / f64::from(slot.weight)
        };
        let count = slots.len() as u64;
        if count < 2 {
            return slots.first().map(|slot| &slot.member).filter(|member| fits(member));
        }
        let first = self.random.below(count);
        let second = (first + 1 + self.random.below(count - 1)) % count;
        let (first, second) = (&slots[first as usize], &slots[second as usize]);
        match (fits(&first.member), fits(&second.member)) {
            (true, true) => Some(if cost(second) < cost(first) { &second.member } else { &first.member }),
            (true, false) => Some(&first.member),
            (false, true) => Some(&second.member),
            // Bad luck: few servers are well.
            (false, false) => self.least(fits, cost),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Protocol, Scheme, Server, TlsConfig};

    fn members(weights: &[u32]) -> Members {
        let server = |(n, weight): (usize, &u32)| Server {
            address: format!("server{n}:80"),
            weight: *weight,
            scheme: Scheme::Http,
        };
        let servers: Vec<Server> = weights.iter().enumerate().map(server).collect();
        Members::from(&servers, &Members::default(), Protocol::Auto, &TlsConfig::default()).expect("servers")
    }

    fn counts(balance: Balance, members: &Members, tried: &[u64], panic: bool, hold: bool) -> Vec<u32> {
        let (turn, random, now) = (AtomicUsize::new(0), Random::seeded(7), Instant::now());
        let mut counts = vec![0; members.slots.len()];
        for _ in 0..1200 {
            let choice = Choice { balance, members, turn: &turn, random: &random, since: now, now, tried, panic };
            let Some(member) = choice.pick() else { continue };
            let index = members.slots.iter().position(|slot| slot.member.id == member.id).expect("of the list");
            counts[index] += 1;
            if hold {
                member.in_flight.fetch_add(1, Ordering::Relaxed);
            }
        }
        counts
    }

    #[test]
    fn round_robin_and_least_connections_follow_the_weights() {
        assert_eq!(counts(Balance::RoundRobin, &members(&[3, 2, 1]), &[], true, false), [600, 400, 200]);
        let least = counts(Balance::LeastConnections, &members(&[3, 2, 1]), &[], true, true);
        assert!(least.iter().zip([600, 400, 200]).all(|(count, share)| count.abs_diff(share) < 5), "{least:?}");
    }

    #[test]
    fn p2c_prefers_the_fast() {
        let members = members(&[1, 1, 1]);
        let now = Instant::now();
        for (slot, milliseconds) in members.slots.iter().zip([5, 5, 500]) {
            slot.member.latency.observe(now + Duration::from_millis(1), Duration::from_millis(milliseconds));
        }
        let counts = counts(Balance::P2c, &members, &[], true, false);
        assert_eq!(counts[2], 0, "the slow one always loses against another");
        assert!(counts[0] > 100 && counts[1] > 100, "{counts:?}");
    }

    #[test]
    fn the_unwell_and_the_tried_are_left_out_until_nobody_is_left() {
        for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::P2c] {
            let members = members(&[1, 1, 1]);
            let ids: Vec<u64> = members.slots.iter().map(|slot| slot.member.id).collect();
            members.slots[0].member.healthy.store(false, Ordering::Relaxed);
            assert_eq!(counts(balance, &members, &[], true, false)[0], 0);
            assert_eq!(counts(balance, &members, &ids[1..2], true, false), [0, 0, 1200], "{balance:?}");
            let again = counts(balance, &members, &ids[1..], true, false);
            assert_eq!((again[0], again[1] + again[2]), (0, 1200), "the well ones again");
            for slot in &members.slots {
                slot.member.healthy.store(false, Ordering::Relaxed);
            }
            assert_eq!(counts(balance, &members, &[], true, false).iter().sum::<u32>(), 1200);
            assert_eq!(counts(balance, &members, &[], false, false).iter().sum::<u32>(), 0);
        }
        assert_eq!(counts(Balance::P2c, &Members::default(), &[], true, false).len(), 0);
    }
}
