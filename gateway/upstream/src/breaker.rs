//! A circuit breaker: closed, open, half-open with a number of probes, over a rolling window that starts
//! at a first failure. Not for deciding what a failure is, and not for whose it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::settings::BreakerConfig;
use crate::window::Window;

/// A breaker stays open at most this many times its first time.
const LONGEST: u32 = 16;

/// What a breaker needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerRules {
    ratio: f64,
    min_requests: u32,
    window: Duration,
    open: Duration,
    probes: u32,
}

/// One breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Whether there is anything to remember. A breaker that never saw a failure costs one load.
    busy: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Counts the changes of phase, so that what was admitted in one is not held against another.
    epoch: u64,
    window: Window,
    trips: u32,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { out: u32, good: u32 },
}

/// What a request was admitted as. Each ends in [`Breaker::record`] or [`Breaker::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// The breaker had nothing to remember.
    Quiet,
    /// While closed, in this epoch.
    Counted(u64),
    /// To see whether it works again.
    Probe(u64),
}

/// What a record changed, for metrics and for who watches the breakers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// It is open now and was closed before.
    pub opened: bool,
    /// It is closed now and was not before.
    pub closed: bool,
    /// It has something to remember now and had not.
    pub woke: bool,
    /// It has nothing to remember any more.
    pub slept: bool,
}

impl BreakerRules {
    pub(crate) fn new(config: &BreakerConfig) -> Self {
        Self {
            ratio: config.failure_ratio,
            min_requests: config.min_requests,
            window: Duration::from_millis(config.window_ms),
            open: Duration::from_millis(config.open_ms),
            probes: config.probes,
        }
    }
}

impl Breaker {
    pub(crate) fn new(rules: &BreakerRules) -> Self {
        let state = State { phase: Phase::Closed, epoch: 0, window: Window::new(rules.window), trips: 0 };
        Self { busy: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// Says whether it has anything to remember.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request pass, or says how long it is refused.
    pub(crate) fn admit(&self, rules: &BreakerRules, now: Instant) -> Result<Ticket, Duration> {
        if !self.is_busy() {
            return Ok(Ticket::Quiet);
        }
        let mut state = self.lock();
        if let Phase::Open { until } = state.phase {
            if now < until {
                return Err(until - now);
            }
            state.turn(Phase::HalfOpen { out: 0, good: 0 });
        }
        let epoch = state.epoch;
        match &mut state.phase {
            Phase::HalfOpen { out, good } if *out + *good < rules.probes => {
                *out += 1;
                Ok(Ticket::Probe(epoch))
            }
            // The probes will tell soon.
            Phase::HalfOpen { .. } => Err(Duration::from_secs(1)),
            Phase::Closed | Phase::Open { .. } => Ok(Ticket::Counted(epoch)),
        }
    }

    /// Notes how a request ended.
    pub(crate) fn record(&self, rules: &BreakerRules, ticket: Ticket, now: Instant, good: bool) -> Effect {
        if good && ticket == Ticket::Quiet && !self.is_busy() {
            return Effect::default();
        }
        let mut state = self.lock();
        let mut effect = Effect::default();
        let epoch = state.epoch;
        match (&mut state.phase, ticket) {
            (Phase::Closed, Ticket::Counted(of)) if of != epoch => {}
            (Phase::Closed, Ticket::Quiet | Ticket::Counted(_)) => {
                state.window.roll(now);
                if !good || state.window.all() > 0 {
                    state.window.count(now, 1, u32::from(!good));
                }
                let (all, failed) = (state.window.all(), state.window.marked());
                if !good && all >= rules.min_requests && f64::from(failed) >= rules.ratio * f64::from(all) {
                    state.open(rules, now);
                    effect.opened = true;
                }
            }
            (Phase::HalfOpen { out, good: well }, Ticket::Probe(of)) if of == epoch => {
                *out -= 1;
                *well += u32::from(good);
                if !good {
                    state.open(rules, now);
                } else if *well >= rules.probes {
                    state.trips = 0;
                    state.window.clear();
                    state.turn(Phase::Closed);
                    effect.closed = true;
                }
            }
            _ => {}
        }
        self.settle(&state, &mut effect);
        effect
    }

    /// Takes a request back that ended without a verdict: its client left, or it never got to a server.
    pub(crate) fn release(&self, ticket: Ticket) {
        if let Ticket::Probe(of) = ticket {
            let mut state = self.lock();
            let epoch = state.epoch;
            if let Phase::HalfOpen { out, .. } = &mut state.phase
                && of == epoch
            {
                *out -= 1;
            }
        }
    }

    /// Forgets what is too old, so that a quiet breaker costs nothing again.
    pub(crate) fn sweep(&self, now: Instant) -> Effect {
        let mut effect = Effect::default();
        if self.is_busy() {
            let mut state = self.lock();
            state.window.roll(now);
            self.settle(&state, &mut effect);
        }
        effect
    }

    fn settle(&self, state: &State, effect: &mut Effect) {
        let busy = !matches!(state.phase, Phase::Closed) || state.window.all() > 0;
        let before = self.busy.swap(busy, Ordering::AcqRel);
        effect.woke = busy && !before;
        effect.slept = before && !busy;
    }
}

impl State {
    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }

    fn open(&mut self, rules: &BreakerRules, now: Instant) {
        let times = 1_u32.checked_shl(self.trips).unwrap_or(LONGEST).min(LONGEST);
        self.trips = self.trips.saturating_add(1);
        self.window.clear();
        self.turn(Phase::Open { until: now + rules.open * times });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn rules() -> BreakerRules {
        BreakerRules::new(&BreakerConfig { min_requests: 10, probes: 2, ..BreakerConfig::default() })
    }

    #[test]
    fn it_opens_at_the_ratio_and_closes_after_good_probes() {
        let (rules, start) = (rules(), Instant::now());
        let breaker = Breaker::new(&rules);
        for n in 0..10 {
            let ticket = breaker.admit(&rules, start).expect("closed");
            let effect = breaker.record(&rules, ticket, start, n % 2 == 1);
            assert!(!effect.opened, "five of ten, but the last one was good");
        }
        let effect = breaker.record(&rules, Ticket::Quiet, start, false);
        assert!(effect.opened);
        assert_eq!(breaker.admit(&rules, start), Err(Duration::from_secs(5)));
        let later = start + Duration::from_secs(5);
        let probes = [breaker.admit(&rules, later).expect("a probe"), breaker.admit(&rules, later).expect("a probe")];
        assert!(breaker.admit(&rules, later).is_err(), "two probes are out");
        breaker.release(probes[0]);
        let again = breaker.admit(&rules, later).expect("the first gave its place back");
        assert!(!breaker.record(&rules, probes[1], later, true).closed);
        assert!(breaker.record(&rules, again, later, true).closed);
        assert!(!breaker.is_busy());
    }

    #[test]
    fn failed_probes_open_it_for_longer() {
        let (rules, start) = (rules(), Instant::now());
        let breaker = Breaker::new(&rules);
        for _ in 0..10 {
            breaker.record(&rules, Ticket::Quiet, start, false);
        }
        let mut now = start;
        for seconds in [5, 10, 20, 40, 80, 80] {
            let wait = breaker.admit(&rules, now).expect_err("open");
            assert_eq!(wait, Duration::from_secs(seconds));
            now += wait;
            let probe = breaker.admit(&rules, now).expect("a probe");
            breaker.record(&rules, probe, now, false);
        }
    }

    /// Random requests on a clock of the test, against the rules themselves.
    #[test]
    fn whatever_happens_the_rules_hold() {
        for seed in 1..200 {
            let (rules, random, mut now) = (rules(), Random::seeded(seed), Instant::now());
            let breaker = Breaker::new(&rules);
            let mut out: Vec<Ticket> = Vec::new();
            let (mut recorded, mut open_until) = (0, None::<Instant>);
            for _ in 0..400 {
                now += Duration::from_millis(random.below(300));
                match random.below(3) {
                    0 => match breaker.admit(&rules, now) {
                        Ok(ticket) => {
                            assert!(open_until.is_none_or(|until| now >= until), "admitted while open");
                            out.push(ticket);
                            let probes = |of| out.iter().filter(|ticket| **ticket == Ticket::Probe(of)).count();
                            if let Ticket::Probe(of) = ticket {
                                assert!(probes(of) <= 2, "too many probes");
                            }
                        }
                        Err(wait) => {
                            assert!(recorded >= 10, "refused before enough was seen");
                            assert!(wait <= Duration::from_secs(80));
                        }
                    },
                    1 if !out.is_empty() => {
                        let ticket = out.swap_remove(random.below(out.len() as u64) as usize);
                        recorded += 1;
                        let effect = breaker.record(&rules, ticket, now, random.below(3) == 0);
                        if effect.opened {
                            assert!(recorded >= 10);
                            open_until = Some(now + Duration::from_secs(5));
                        }
                        open_until = open_until.filter(|_| !effect.closed);
                    }
                    _ if !out.is_empty() => {
                        breaker.release(out.swap_remove(random.below(out.len() as u64) as usize));
                    }
                    _ => {}
                }
            }
        }
    }
}
