//! The limit itself: a state machine over latencies that is told the time. Not for tenants and locks.

use std::time::{Duration, Instant};

use super::{Priority, ShedderConfig};

/// How many latencies make a window.
const ENOUGH: u32 = 10;
/// How long a measurement of normal latencies may take, and how much of the limit it leaves.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
const PROBE_SHARE: f64 = 0.25;

/// A route of this shedder.
pub(super) type RouteId = usize;

/// What is normal for a route, in seconds, and what the window has of it.
#[derive(Clone, Copy, Debug, Default)]
struct Route {
    normal: Option<f64>,
    sum: f64,
    count: u32,
}

pub(super) struct Core {
    min: f64,
    max: f64,
    tolerance: f64,
    window: Duration,
    probe_every: Duration,
    sheddable: f64,
    limit: f64,
    in_flight: u32,
    /// The most at a time in this window, and whether anybody was turned away.
    peak: u32,
    pressed: bool,
    window_began: Instant,
    ratios: f64,
    count: u32,
    /// Since when there was no window with room.
    crowded_since: Instant,
    probe: Option<Instant>,
    probes: u64,
    names: Vec<Box<str>>,
    routes: Vec<Route>,
}

impl Core {
    pub(super) fn new(config: &ShedderConfig, now: Instant) -> Self {
        let mut core = Self {
            min: 1.0,
            max: 1.0,
            tolerance: 2.0,
            window: Duration::ZERO,
            probe_every: Duration::ZERO,
            sheddable: 1.0,
            limit: f64::from(config.initial_concurrency),
            in_flight: 0,
            peak: 0,
            pressed: false,
            window_began: now,
            ratios: 0.0,
            count: 0,
            crowded_since: now,
            probe: None,
            probes: 0,
            names: Vec::new(),
            routes: Vec::new(),
        };
        core.configure(config);
        core
    }

    /// Takes on a configuration; what was learnt stays.
    pub(super) fn configure(&mut self, config: &ShedderConfig) {
        self.min = f64::from(config.min_concurrency);
        self.max = f64::from(config.max_concurrency);
        self.tolerance = f64::from(config.tolerance_percent) / 100.0;
        self.window = Duration::from_millis(config.window_ms);
        self.probe_every = Duration::from_secs(config.probe_seconds);
        self.sheddable = f64::from(config.sheddable_percent) / 100.0;
        self.limit = self.limit.clamp(self.min, self.max);
    }

    /// Returns the route of this name; names come from the configuration only.
    pub(super) fn route(&mut self, name: &str) -> RouteId {
        self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.routes.push(Route::default());
            self.routes.len() - 1
        })
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit as u32
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns how many may be worked on at a time by those of this priority.
    pub(super) fn room(&mut self, priority: Priority, now: Instant) -> u32 {
        if self.probe.is_some_and(|since| now.saturating_duration_since(since) > PROBE_LIMIT) {
            self.end_probe(now);
        }
        let limit = if self.probe.is_some() { (self.limit * PROBE_SHARE).max(self.min) } else { self.limit };
        let share = if priority == Priority::Sheddable { self.sheddable } else { 1.0 };
        ((limit * share) as u32).max(1)
    }

    /// Counts a request in; returns the probe that it belongs to.
    pub(super) fn admitted(&mut self) -> Option<u64> {
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
        self.probe.map(|_| self.probes)
    }

    pub(super) fn turned_away(&mut self) {
        self.pressed = true;
    }

    pub(super) fn left(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Learns how long a request took; call it before [`Core::left`].
    pub(super) fn answered(&mut self, route: RouteId, took: Duration, probe: Option<u64>, now: Instant) {
        // While normal latencies are measured, those of before would be mistaken for them.
        if self.probe.is_some() && probe != Some(self.probes) {
            return;
        }
        let took = took.as_secs_f64().max(1e-6);
        let known = &mut self.routes[route];
        known.sum += took;
        known.count += 1;
        self.ratios += known.normal.map_or(1.0, |normal| took / normal);
        self.count += 1;
        let full = self.count >= ENOUGH && now.saturating_duration_since(self.window_began) >= self.window;
        match self.probe {
            Some(_) if full => self.end_probe(now),
            None if full => self.end_window(now),
            _ => {}
        }
    }

    fn end_window(&mut self, now: Instant) {
        let ratio = self.ratios / f64::from(self.count);
        let crowded = self.pressed || f64::from(self.peak) > self.limit / 2.0;
        for route in &mut self.routes {
            let Some(mean) = route.take_mean() else { continue };
            route.normal = Some(match route.normal {
                None => mean,
                // With room to spare, slower is the new normal, little by little; quicker always is.
                Some(normal) if mean < normal || !crowded => normal + 0.2 * (mean - normal),
                Some(normal) => normal,
            });
        }
        let gradient = (self.tolerance / ratio).clamp(0.5, 1.0);
        if gradient < 1.0 && crowded {
            self.limit = self.limit * gradient + self.limit.sqrt() * 0.5;
        } else if crowded {
            self.limit += self.limit.sqrt();
        }
        self.limit = self.limit.clamp(self.min, self.max);
        if !crowded {
            self.crowded_since = now;
        }
        self.begin_window(now);
        if now.saturating_duration_since(self.crowded_since) >= self.probe_every {
            self.probe = Some(now);
            self.probes += 1;
        }
    }

    fn end_probe(&mut self, now: Instant) {
        for route in &mut self.routes {
            let few = route.count < 3;
            if let (Some(mean), false) = (route.take_mean(), few) {
                route.normal = Some(mean);
            }
        }
        self.probe = None;
        self.crowded_since = now;
        self.begin_window(now);
    }

    fn begin_window(&mut self, now: Instant) {
        (self.window_began, self.ratios, self.count) = (now, 0.0, 0);
        (self.peak, self.pressed) = (self.in_flight, false);
    }
}

impl Route {
    fn take_mean(&mut self) -> Option<f64> {
        let mean = (self.count > 0).then(|| self.sum / f64::from(self.count));
        (self.sum, self.count) = (0.0, 0);
        mean
    }
}
