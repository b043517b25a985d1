//! Leases of several nodes over one bucket, in a world with a clock of its own: the bound of the README holds on
//! every schedule, however late answers come.

use super::*;

const MS: u64 = 1_000_000;

/// What the script does, in nanoseconds.
#[derive(Default)]
struct Server {
    full_at: u64,
    trips: u64,
}

impl Server {
    fn grant(&mut self, wish: Wish, terms: &Terms, now: u64) -> Grant {
        self.trips += 1;
        let room = terms.burst * terms.interval;
        let debt = self.full_at.saturating_sub(now).max(wish.debt).min(room);
        let free = wish.ask.min((room - debt) / terms.interval);
        let granted = if free < wish.need { 0 } else { free };
        let wait = if granted == 0 { (debt + wish.need.max(1) * terms.interval).saturating_sub(room) } else { 0 };
        let debt = debt + granted * terms.interval;
        self.full_at = self.full_at.max(now + debt);
        Grant { granted, debt, wait }
    }
}

struct Node {
    lease: Lease,
    /// Sent at, reaches Redis at, comes back at.
    trip: Option<(u64, u64, u64, Wish)>,
    answer: Option<Grant>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

/// Runs nodes under load; returns when what passed, and how much was asked for.
fn run(seed: u64, nodes: usize, terms: &Terms, flush: bool) -> (Vec<(u64, u64)>, u64, Server) {
    let mut random = Random(seed);
    let mut server = Server::default();
    let mut nodes: Vec<Node> = (0..nodes).map(|_| Node { lease: Lease::default(), trip: None, answer: None }).collect();
    let (mut passed, mut asked) = (Vec::new(), 0);
    let mut busy = true;
    for step in 0..20_000_u64 {
        let now = 1 + step * MS / 2;
        if random.below(400) == 0 {
            busy = !busy;
        }
        if flush && random.below(2_000) == 0 {
            server.full_at = 0;
        }
        for node in &mut nodes {
            if let Some((sent, reaches, back, wish)) = node.trip {
                if node.answer.is_none() && now >= reaches {
                    node.answer = Some(server.grant(wish, terms, now));
                }
                if now >= back
                    && let Some(grant) = node.answer.take()
                {
                    node.trip = None;
                    node.lease.granted(grant, sent, now, terms);
                }
            }
            let load = if busy { random.below(6) } else { u64::from(random.below(40) == 0) };
            for _ in 0..load {
                let cost = 1 + random.below(3).saturating_sub(1);
                asked += cost;
                let wish = match node.lease.take(cost, now, terms) {
                    Take::Taken { renew, .. } => {
                        passed.push((now, cost));
                        if renew { node.lease.begin(0, now, terms) } else { None }
                    }
                    Take::Refused { wait } => {
                        assert!(wait > 0);
                        None
                    }
                    Take::Ask => node.lease.begin(cost, now, terms),
                };
                if let Some(wish) = wish {
                    assert!(node.trip.is_none(), "one trip at a time");
                    let reaches = now + random.below(5 * MS);
                    node.trip = Some((now, reaches, reaches + random.below(5 * MS), wish));
                }
            }
        }
    }
    (passed, asked, server)
}

/// Says by how many units more than `rate * time` passed in the worst window.
fn worst(passed: &[(u64, u64)], interval: u64) -> u64 {
    let (mut level, mut last, mut worst) = (0_u64, 0, 0);
    for (at, cost) in passed {
        level = level.saturating_sub(at - last) + cost * interval;
        (last, worst) = (*at, worst.max(level));
    }
    worst.div_ceil(interval)
}

#[test]
fn nodes_together_let_no_more_through_than_the_bound() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let interval = (1 + random.below(20)) * MS / 2;
        let terms = Terms { lifetime: (20 + random.below(200)) * MS, interval, burst: 3 + random.below(200) };
        let (passed, asked, server) = run(seed, 1 + random.below(6) as usize, &terms, false);
        let bound = terms.burst + terms.lifetime / interval + 1;
        assert!(worst(&passed, interval) <= bound, "seed {seed}: {} > {bound}", worst(&passed, interval));
        let total: u64 = passed.iter().map(|(_, cost)| cost).sum();
        let could = (terms.burst + 10_000 * MS / interval).min(asked);
        assert!(total * 10 >= could * 5, "seed {seed}: {total} of {could} passed");
        assert!(server.trips < asked, "seed {seed}: {} trips for {asked}", server.trips);
    }
}

#[test]
fn a_flush_wins_no_more_than_what_nobody_remembers() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let terms = Terms { lifetime: 100 * MS, interval: 2 * MS, burst: 20 + random.below(100) };
        let (passed, _, _) = run(seed, 3, &terms, true);
        // About five flushes: whole buckets would be five bursts more.
        let bound = terms.burst + 2 * terms.lifetime / terms.interval + 10;
        assert!(worst(&passed, terms.interval) <= bound, "seed {seed}: {} > {bound}", worst(&passed, terms.interval));
    }
}

#[test]
fn permits_end_and_are_not_taken_after_that() {
    let terms = Terms { lifetime: 100 * MS, interval: MS, burst: 1_000 };
    let mut lease = Lease::default();
    assert_eq!(lease.take(1, 1, &terms), Take::Ask);
    let wish = lease.begin(1, 1, &terms).expect("asks");
    assert_eq!((wish.ask, wish.need), (1, 1));
    assert_eq!(lease.begin(1, 2, &terms), None, "somebody asks already");
    lease.granted(Grant { granted: 5, debt: 5 * MS, wait: 0 }, 1, 30 * MS, &terms);
    assert!(matches!(lease.take(1, 100 * MS, &terms), Take::Taken { .. }));
    assert_eq!(lease.take(1, 100 * MS + 1, &terms), Take::Ask, "the lifetime began when they were asked for");
}

#[test]
fn a_refusal_is_remembered_and_says_when_to_come_again() {
    let terms = Terms { lifetime: 100 * MS, interval: 6_000 * MS, burst: 10 };
    let mut lease = Lease::default();
    lease.begin(1, 1, &terms);
    lease.granted(Grant { granted: 0, debt: 60_000 * MS, wait: 4_000 * MS }, 1, 2, &terms);
    let Take::Refused { wait } = lease.take(1, 3, &terms) else { panic!("refused") };
    assert!((3_999 * MS..=6_000 * MS).contains(&wait), "{wait}");
    assert!(matches!(lease.take(1, 900 * MS, &terms), Take::Refused { .. }), "without asking again");
    assert_eq!(lease.take(1, 1_100 * MS, &terms), Take::Ask, "a second later Redis may know more");
}

#[test]
fn those_who_wait_are_asked_for_together() {
    let terms = Terms { lifetime: 100 * MS, interval: MS, burst: 1_000 };
    let mut lease = Lease::default();
    lease.begin(1, 1, &terms);
    for _ in 0..99 {
        assert_eq!(lease.begin(1, 1, &terms), None);
    }
    lease.granted(Grant { granted: 1, debt: MS, wait: 0 }, 1, 2, &terms);
    assert!(matches!(lease.take(1, 3, &terms), Take::Taken { .. }));
    let wish = lease.begin(1, 3, &terms).expect("asks");
    assert_eq!((wish.ask, wish.need), (100, 1));
}

#[test]
fn what_is_given_back_is_good_only_as_long_as_it_was() {
    let terms = Terms { lifetime: 100 * MS, interval: MS, burst: 1_000 };
    let mut lease = Lease::default();
    lease.begin(1, 1, &terms);
    lease.granted(Grant { granted: 1, debt: MS, wait: 0 }, 1, 2, &terms);
    let Take::Taken { expires, .. } = lease.take(1, 3, &terms) else { panic!("taken") };
    lease.give_back(1, expires + 1, 4);
    assert_eq!(lease.take(1, 4, &terms), Take::Ask, "not of this lease");
    lease.give_back(1, expires, expires);
    assert_eq!(lease.take(1, 5, &terms), Take::Ask, "too late");
    lease.give_back(1, expires, 5);
    assert!(matches!(lease.take(1, 6, &terms), Take::Taken { .. }));
}

#[test]
fn what_is_left_is_told_from_one_story() {
    let terms = Terms { lifetime: 1_000 * MS, interval: MS, burst: 100 };
    let mut lease = Lease::default();
    lease.begin(1, 1, &terms);
    lease.granted(Grant { granted: 10, debt: 40 * MS, wait: 0 }, 1, 1, &terms);
    let mut before = u64::MAX;
    for now in [1, 1, 1, 1] {
        lease.take(1, now, &terms);
        let (left, _) = lease.state(now, &terms);
        assert!(left < before, "falls with each");
        before = left;
    }
    assert_eq!(before, 60 + 10 - 4);
}

#[test]
fn the_bound_is_reached_and_not_passed() {
    let terms = Terms { lifetime: 100 * MS, interval: MS, burst: 80 };
    let bound = terms.burst + terms.lifetime / terms.interval;
    let mut most = 0;
    // Nodes that ask for all there is, as often as the bucket fills, and hold it; then all spend at once.
    for spend in (0..400).map(|step| 1 + step * MS) {
        let mut server = Server::default();
        let mut nodes = Vec::new();
        for asks in (0..).map(|turn| 1 + turn * 80 * MS).take_while(|asks| *asks <= spend).chain([spend]) {
            let mut lease = Lease::default();
            let wish = lease.begin(0, asks, &terms).expect("asks");
            let grant = server.grant(Wish { ask: 80, ..wish }, &terms, asks);
            lease.granted(grant, asks, asks, &terms);
            nodes.push(lease);
        }
        let mut spent = 0;
        for lease in &mut nodes {
            while matches!(lease.take(1, spend, &terms), Take::Taken { .. }) {
                spent += 1;
            }
        }
        assert!(spent <= bound, "{spent} at {spend}");
        most = most.max(spent);
    }
    assert!(most + 2 >= bound, "{most} of {bound}");
}
