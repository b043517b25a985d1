//! A rung of requests and answers: each proxy at an equal rate, at a higher one that scripts do not reach,
//! and as fast as it goes, in rounds that run there and back (ABBA). Not for how it is written down.

use std::net::SocketAddr;

use measure::Outcome;
use measure::figures::Latencies;

use crate::check;
use crate::generator::{Crew, Opening, Sample, Supply};
use crate::ground::Ground;
use crate::peers::{Offer, Peer, Running, Shape};
use crate::system_calls;
use crate::{Extent, say};

pub const CONNECTIONS: usize = 32;
/// The share of the slowest one's knee that all are asked at.
const SHARE: f64 = 0.5;
/// The direct rate over the proxied one, below which the load may be what is measured.
pub const HEADROOM: f64 = 1.5;

/// Who takes part, as which row.
pub struct Entrant {
    pub label: String,
    pub peer: Option<Peer>,
    pub offer: Offer,
    address: SocketAddr,
    running: Option<Running>,
    supply: Supply,
    opening: Opening,
    /// What it does beyond passing on.
    asked: Shape,
}

/// Those that run and answer rightly, and what is said of the others.
#[derive(Default)]
pub struct Entrants {
    ready: Vec<Entrant>,
    missing: Vec<String>,
}

impl Entrants {
    fn lose(&mut self, label: &str, error: &(dyn std::error::Error + Send + Sync)) {
        let reason = error.to_string();
        say(format!("  {label} is left out: {reason}"));
        let reason = reason.lines().next().unwrap_or_default();
        self.missing.push(if reason.starts_with(label) { reason.to_owned() } else { format!("{label}: {reason}") });
    }
}

/// What was measured of one entrant.
#[derive(Default)]
pub struct Measured {
    /// CPU microseconds for each answer: at the rate for all, at the higher rate, saturated.
    pub low: Vec<f64>,
    pub high: Vec<f64>,
    pub full: Vec<f64>,
    pub per_second: Vec<f64>,
    /// At the rate for all, over all rounds.
    pub latencies: Latencies,
    /// At the higher rate, over all rounds.
    pub high_latencies: Latencies,
    pub failed: u64,
    /// Resident memory in MiB, after the rounds.
    pub memory: f64,
    pub system_calls: Option<f64>,
    /// Where it did not keep up with a rate that was meant for it.
    pub fell_behind: bool,
}

/// All of a rung.
pub struct Found {
    pub entrants: Vec<(String, Option<Peer>, Offer, Measured)>,
    /// Who could not be measured, and why.
    pub missing: Vec<String>,
    pub low: f64,
    pub high: f64,
}

/// Returns those of the peers that the rung is for, started; the subject also bare where the rung asks
/// for more than that.
pub fn enter(
    peers: &[Peer],
    shape: Shape,
    ground: &Ground,
    (origin, direct): (SocketAddr, bool),
    (supply, opening): (&Supply, &Opening),
) -> Outcome<Entrants> {
    let entrant = |label: &str, peer, (offer, asked), address, running| Entrant {
        label: label.to_owned(),
        peer,
        offer,
        address,
        running,
        supply: supply.clone(),
        opening: opening.clone(),
        asked,
    };
    let mut entrants = Entrants::default();
    if direct {
        entrants.ready.push(entrant("direct", None, (Offer::Yes, Shape::Bare), origin, None));
    }
    for &peer in peers {
        let offer = peer.offer(shape);
        let mut shapes = vec![(peer.name().to_owned(), shape)];
        match offer {
            Offer::No => continue,
            Offer::Bare => shapes[0].0.push_str(", bare"),
            Offer::Yes if matches!(shape, Shape::Jwt(_) | Shape::Chain) && peer == Peer::Portico => {
                shapes.push(("Portico, bare".to_owned(), Shape::Bare));
            }
            Offer::Yes => {}
        }
        for (label, shape) in shapes {
            let running = match peer.start(shape, ground, origin) {
                Ok(running) => running,
                Err(error) => {
                    entrants.lose(&label, &*error);
                    continue;
                }
            };
            running.process.pause();
            let offer = if shape == Shape::Bare && label.contains(", ") { Offer::Bare } else { offer };
            let asked = if offer == Offer::Bare { Shape::Bare } else { shape };
            let mut one = entrant(&label, Some(peer), (offer, asked), running.address, Some(running));
            match one.running(Entrant::check) {
                Ok(()) => entrants.ready.push(one),
                Err(error) => entrants.lose(&label, &*error),
            }
        }
    }
    Ok(entrants)
}

/// Measures them all.
pub fn measure(entrants: Entrants, warms_up: bool, extent: Extent) -> Outcome<Found> {
    let Entrants { ready: mut entrants, missing } = entrants;
    let mut knees = Vec::new();
    for entrant in &mut entrants {
        // Compilers of scripts take their time.
        let warming = if entrant.is_script() { extent.warm_up * 4 } else { extent.warm_up };
        let knee = entrant.running(|entrant| {
            if warms_up {
                entrant.load(|crew, supply| crew.saturated(supply, warming))?;
            }
            entrant.load(|crew, supply| crew.saturated(supply, extent.saturated))
        })?;
        if knee.0.answered == 0 || knee.0.failed > 0 {
            return Err(entrant.wrong(&knee.0).into());
        }
        say(format!("  {}: {:.0} a second", entrant.label, knee.0.per_second()));
        knees.push((entrant.is_script(), entrant.running.is_some(), knee.0.per_second()));
    }
    let slowest = |scripts: bool| {
        let those = knees.iter().filter(|(script, proxy, _)| *proxy && (scripts || !script));
        (those.map(|(_, _, knee)| *knee).fold(f64::INFINITY, f64::min) * SHARE / 100.0).floor().max(1.0) * 100.0
    };
    let (low, high) = (slowest(true), slowest(false));
    let low = if low.is_finite() { low } else { 1_000.0 };
    let high = if high.is_finite() { high } else { low };
    let mut measured: Vec<Measured> = entrants.iter().map(|_| Measured::default()).collect();
    for round in 0..extent.rounds {
        say(format!("  round {} of {}", round + 1, extent.rounds));
        let mut order: Vec<usize> = (0..entrants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let found = &mut measured[place];
            entrants[place].running(|entrant| entrant.round(found, (low, high), extent))?;
        }
    }
    for (entrant, found) in entrants.iter_mut().zip(&mut measured) {
        if let Some(running) = &entrant.running {
            found.memory = running.process.memory().0;
        }
        let rate = if entrant.is_script() { low } else { high };
        found.system_calls = entrant.running(|entrant| entrant.count_system_calls(rate, extent))?;
    }
    let entrants = entrants.into_iter().zip(measured);
    Ok(Found {
        entrants: entrants.map(|(one, found)| (one.label, one.peer, one.offer, found)).collect(),
        missing,
        low,
        high,
    })
}

impl Entrant {
    fn check(&mut self) -> Outcome {
        match self.opening {
            Opening::Http => check::right(self.address, self.supply.first(), self.asked),
            Opening::WebSocket { .. } => Crew::open(self.address, 1, &self.opening).map(drop),
        }
    }

    fn is_script(&self) -> bool {
        self.peer.is_some_and(Peer::is_script)
    }

    /// Lets it run for as long as this takes.
    fn running<T>(&mut self, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if let Some(running) = &self.running {
            running.process.resume();
        }
        let done = work(self).map_err(|error| format!("{}: {error}", self.label));
        if let Some(running) = &self.running {
            running.process.pause();
        }
        Ok(done?)
    }

    fn cpu(&self) -> f64 {
        self.running.as_ref().map_or(f64::NAN, |running| running.process.cpu_seconds())
    }

    /// Loads it over fresh connections, and says how many CPU seconds of it that took.
    fn load(&mut self, load: impl FnOnce(&mut Crew, &mut Supply) -> Outcome<Sample>) -> Outcome<(Sample, f64)> {
        let mut crew = Crew::open(self.address, CONNECTIONS, &self.opening)?;
        // All of them are open, on both sides, before it counts.
        crew.each_once(&mut self.supply)?;
        let before = self.cpu();
        let sample = load(&mut crew, &mut self.supply)?;
        Ok((sample, self.cpu() - before))
    }

    fn round(&mut self, found: &mut Measured, (low, high): (f64, f64), extent: Extent) -> Outcome {
        let each = |sample: &Sample, cpu: f64| cpu * 1e6 / sample.answered as f64;
        let late = |sample: &Sample, rate: f64| sample.per_second() < rate * 0.97;
        if low < high || self.is_script() {
            let (sample, cpu) = self.load(|crew, supply| crew.paced(supply, low, extent.paced))?;
            found.low.push(each(&sample, cpu));
            found.failed += sample.failed;
            found.fell_behind |= late(&sample, low);
            found.latencies.extend(&sample.latencies);
        }
        if self.is_script() {
            found.high.push(f64::NAN);
        } else {
            let (sample, cpu) = self.load(|crew, supply| crew.paced(supply, high, extent.paced))?;
            found.high.push(each(&sample, cpu));
            found.failed += sample.failed;
            found.fell_behind |= late(&sample, high);
            found.high_latencies.extend(&sample.latencies);
        }
        let (sample, cpu) = self.load(|crew, supply| crew.saturated(supply, extent.saturated))?;
        found.full.push(each(&sample, cpu));
        found.per_second.push(sample.per_second());
        found.failed += sample.failed;
        Ok(())
    }

    fn count_system_calls(&mut self, rate: f64, extent: Extent) -> Outcome<Option<f64>> {
        let Some(running) = &self.running else { return Ok(None) };
        let Some(counting) = system_calls::Counting::begin(&running.process) else { return Ok(None) };
        let (sample, _) = self.load(|crew, supply| crew.paced(supply, rate, extent.paced))?;
        Ok(counting.end().map(|calls| calls as f64 / (sample.answered + CONNECTIONS as u64) as f64))
    }

    fn wrong(&self, sample: &Sample) -> String {
        let said = self.running.as_ref().map(|running| running.process.said()).unwrap_or_default();
        format!("{} answers wrongly: {} right, {} wrong\n{said}", self.label, sample.answered, sample.failed)
    }
}
