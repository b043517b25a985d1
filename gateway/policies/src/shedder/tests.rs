//! A service with so many workers and a queue, in a world with a clock of its own.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

struct World {
    now: Instant,
    workers: usize,
    service: Duration,
    queue: VecDeque<(Instant, Option<Admission>)>,
    working: Vec<(Instant, Instant, Option<Admission>)>,
    /// Answered within the patience of a client, and later.
    good: u32,
    late: u32,
    slowest: Duration,
}

impl World {
    fn new(workers: usize, service: Duration) -> Self {
        Self {
            now: Instant::now(),
            workers,
            service,
            queue: VecDeque::new(),
            working: Vec::new(),
            good: 0,
            late: 0,
            slowest: Duration::ZERO,
        }
    }

    fn arrive(&mut self, admission: Option<Admission>) {
        self.queue.push_back((self.now, admission));
    }

    fn step(&mut self) {
        self.now += MS;
        let now = self.now;
        let (done, working) = std::mem::take(&mut self.working).into_iter().partition(|(_, ends, _)| *ends <= now);
        self.working = working;
        let done: Vec<(Instant, Instant, Option<Admission>)> = done;
        for (began, _, admission) in done {
            let took = now - began;
            self.slowest = self.slowest.max(took);
            if took <= self.service * 10 {
                self.good += 1
            } else {
                self.late += 1
            }
            if let Some(admission) = admission {
                admission.answered(now);
            }
        }
        while self.working.len() < self.workers
            && let Some((began, admission)) = self.queue.pop_front()
        {
            self.working.push((began, now + self.service, admission));
        }
    }
}

fn shedders() -> Shedders {
    Shedders::new(&mut Registry::default())
}

fn config() -> ShedderConfig {
    ShedderConfig { min_concurrency: 4, initial_concurrency: 64, ..ShedderConfig::default() }
}

/// Offers a service of 20 workers and 20 ms (1,000 a second) so many requests a millisecond.
fn offer(world: &mut World, shed: Option<&Shed>, per_ms: u32, steps: u32) -> (u32, u32) {
    let (good, late) = (world.good, world.late);
    for _ in 0..steps {
        for _ in 0..per_ms {
            match shed {
                None => world.arrive(None),
                Some(shed) => {
                    if let Ok(admission) = shed.admit(None, world.now) {
                        world.arrive(Some(admission));
                    }
                }
            }
        }
        world.step();
    }
    (world.good - good, world.late - late)
}

#[test]
fn under_overload_what_is_let_in_is_answered_in_time() {
    for (load, least) in [(2, 9_000), (5, 9_000), (20, 8_500)] {
        let mut without = World::new(20, MS * 20);
        let (good, _) = offer(&mut without, None, load, 10_000);
        assert!(good < 2_000, "without shedding the queue takes all: {good}");

        let shed = shedders().compile("s", &config(), "GET /", Priority::Normal).expect("compiles");
        let mut with = World::new(20, MS * 20);
        offer(&mut with, Some(&shed), load, 2_000);
        let (good, late) = offer(&mut with, Some(&shed), load, 10_000);
        assert!(good >= least && late == 0, "load {load}: {good} of 10000 in time, {late} late");
    }
}

#[test]
fn the_limit_follows_the_service_through_a_long_overload_and_back() {
    let shed = shedders().compile("s", &config(), "GET /", Priority::Normal).expect("compiles");
    let mut world = World::new(20, MS * 20);
    // Two minutes of three times the load: measuring anew must not take the queue for normal.
    offer(&mut world, Some(&shed), 3, 120_000);
    let limit = shed.shedder.lock().core.limit();
    assert!((16..=90).contains(&limit), "{limit}");
    world.slowest = Duration::ZERO;
    offer(&mut world, Some(&shed), 3, 5_000);
    assert!(world.slowest <= MS * 100, "{:?}", world.slowest);
    // The service gets five times slower, for its own reasons: what it can do still passes.
    world.service = MS * 100;
    offer(&mut world, Some(&shed), 3, 60_000);
    let (good, _) = offer(&mut world, Some(&shed), 3, 10_000);
    assert!(good >= 1_600, "{good} of 2000");
    world.service = MS * 20;
    offer(&mut world, Some(&shed), 3, 20_000);
    let (good, late) = offer(&mut world, Some(&shed), 3, 10_000);
    assert!(good >= 9_000 && late == 0, "{good} {late}");
}

#[test]
fn critical_routes_are_always_let_in_and_sheddable_ones_go_first() {
    let shedders = shedders();
    let fixed = ShedderConfig { min_concurrency: 20, max_concurrency: 20, initial_concurrency: 20, ..config() };
    let hold = |route, priority| shedders.compile("s", &fixed, route, priority).expect("compiles");
    let critical = hold("health", Priority::Critical);
    let normal = hold("normal", Priority::Normal);
    let sheddable = hold("sheddable", Priority::Sheddable);
    let now = Instant::now();
    let mut held: Vec<Admission> = (0..15).filter_map(|_| sheddable.admit(None, now).ok()).collect();
    assert_eq!(held.len(), 15);
    assert!(sheddable.admit(None, now).is_err(), "three quarters are its share");
    held.extend((0..5).map(|_| normal.admit(None, now).expect("room")));
    let Err(error) = normal.admit(None, now) else { panic!("full") };
    assert_eq!((error.code(), error.status(), error.retry_after_seconds()), ("gateway.overloaded", 503, Some(1)));
    for _ in 0..100 {
        held.push(critical.admit(None, now).expect("always"));
    }
    held.clear();
    assert!(normal.admit(None, now).is_ok(), "whoever leaves makes room");
    assert_eq!(shedders.compile("s", &fixed, "x", Priority::Normal).expect("ok").shedder.lock().core.in_flight(), 0);
}

#[test]
fn a_tenant_that_floods_does_not_keep_another_out() {
    let fixed = ShedderConfig { min_concurrency: 20, max_concurrency: 20, initial_concurrency: 20, ..config() };
    let shed = shedders().compile("s", &fixed, "r", Priority::Normal).expect("compiles");
    let (loud, quiet) = (TenantId::new(), TenantId::new());
    let now = Instant::now();
    let mut of_loud: Vec<Admission> = (0..1_000).filter_map(|_| shed.admit(Some(loud), now).ok()).collect();
    assert_eq!(of_loud.len(), 20);
    let of_quiet: Vec<Admission> = (0..1_000).filter_map(|_| shed.admit(Some(quiet), now).ok()).collect();
    assert_eq!(of_quiet.len(), 10, "half is its share");
    of_loud.truncate(15);
    assert!(shed.admit(Some(loud), now).is_err(), "it has more than its share");
    of_loud.truncate(9);
    assert!(shed.admit(Some(loud), now).is_ok());
}

#[test]
fn routes_are_measured_against_themselves() {
    let shedders = shedders();
    let quick = shedders.compile("s", &config(), "quick", Priority::Normal).expect("compiles");
    let slow = shedders.compile("s", &config(), "slow", Priority::Normal).expect("compiles");
    let mut now = Instant::now();
    // One answers in a millisecond, one in a second, both as ever: nothing is overloaded.
    for _ in 0..5_000 {
        let began = now;
        let held: Vec<Admission> = (0..40).map(|_| quick.admit(None, began).expect("room")).collect();
        now += MS;
        held.into_iter().for_each(|admission| admission.answered(now));
        slow.admit(None, now - MS * 1_000).expect("room").answered(now);
    }
    assert!(quick.shedder.lock().core.limit() >= 64);
}

#[test]
fn configurations_that_contradict_themselves_are_refused() {
    for text in [
        "min_concurrency = 0",
        "min_concurrency = 200",
        "max_concurrency = 10",
        "tolerance_percent = 100",
        "window_ms = 0",
        "probe_seconds = 0",
        "sheddable_percent = 0",
        "sheddable_percent = 101",
    ] {
        let config: ShedderConfig = toml::from_str(text).expect("TOML");
        assert_eq!(config.check().expect_err(text).code(), "config.invalid");
    }
}
