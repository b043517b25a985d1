//! Numbers: medians with their spread over rounds, ratios, percentiles, timing of short calls, and
//! a seeded source of random choices. Not for reading them off the machine: see `process`.

use std::fmt;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The median over rounds, with the smallest and the greatest.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The middle of the rounds.
    pub median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// Returns the spread of one number per round.
    pub fn of(rounds: &[f64]) -> Self {
        let sorted = sorted(rounds);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        Self { median, low: at(0), high: at(sorted.len().saturating_sub(1)) }
    }

    /// Returns the spread of the ratio within each round.
    pub fn ratio(over: &[f64], under: &[f64]) -> Self {
        Self::of(&over.iter().zip(under).map(|(over, under)| over / under).collect::<Vec<_>>())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}–{})", short(self.median), short(self.low), short(self.high))
    }
}

/// The median over rounds, with the quarter points on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Quartiles {
    /// The middle of the rounds.
    pub median: f64,
    low: f64,
    high: f64,
}

impl Quartiles {
    /// Returns the middle and both quarter points of one number per round, between neighbours where a
    /// point falls between them; what is not a number is left out.
    pub fn of(rounds: &[f64]) -> Self {
        let sorted = sorted(&rounds.iter().copied().filter(|number| number.is_finite()).collect::<Vec<_>>());
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let (low, high) = (sorted.get(place.floor() as usize), sorted.get(place.ceil() as usize));
            match (low, high) {
                (Some(low), Some(high)) => low + (high - low) * place.fract(),
                _ => f64::NAN,
            }
        };
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }

    /// Returns those of the ratio within each round.
    pub fn ratio(over: &[f64], under: &[f64]) -> Self {
        Self::of(&over.iter().zip(under).map(|(over, under)| over / under).collect::<Vec<_>>())
    }
}

impl fmt::Display for Quartiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.median.is_finite() {
            return f.write_str("—");
        }
        write!(f, "{} ({}–{})", short(self.median), short(self.low), short(self.high))
    }
}

/// Writes a number with three significant digits.
pub fn short(number: f64) -> String {
    match number.abs() {
        _ if !number.is_finite() => "—".to_owned(),
        size if size >= 999.5 => grouped(number.round()),
        size if size >= 99.95 => format!("{number:.0}"),
        size if size >= 9.995 => format!("{number:.1}"),
        size if size >= 0.0995 => format!("{number:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{number:.3}"),
    }
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// How long each of many requests took.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the latency that this share of the requests stays within, in milliseconds.
    pub fn within(&self, share: f64) -> f64 {
        let sorted = sorted(&self.0.iter().map(|took| took.as_secs_f64() * 1e3).collect::<Vec<_>>());
        let place = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// Returns the latency that half of the requests stay within, in milliseconds.
    pub fn median(&self) -> f64 {
        self.within(0.5)
    }
}

/// Returns nanoseconds per call, as each of the threads sees it: the call is repeated on all of them
/// at once for so long. It is given the thread's number and the call's.
pub fn per_call(threads: usize, length: Duration, call: impl Fn(usize, usize) + Sync) -> f64 {
    const BATCH: usize = 64;
    let ready = Barrier::new(threads);
    let run = |thread: usize| {
        ready.wait();
        let (began, mut calls) = (Instant::now(), 0);
        loop {
            (0..BATCH).for_each(|place| call(thread, calls + place));
            calls += BATCH;
            let took = began.elapsed();
            if took >= length {
                return took.as_nanos() as f64 / calls as f64;
            }
        }
    };
    let run = &run;
    let each: Vec<f64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("nothing here panics")).collect()
    });
    each.iter().sum::<f64>() / threads as f64
}

/// Random choices that are the same in every run (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Returns choices that this number decides.
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_middle_and_both_ends() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).to_string(), "2.00 (1.00–3.00)");
        assert_eq!(Spread::of(&[4.0, 1.0]).to_string(), "2.50 (1.00–4.00)");
        assert_eq!(Spread::ratio(&[2.0, 9.0, 8.0], &[1.0, 3.0, 4.0]).to_string(), "2.00 (2.00–3.00)");
        assert_eq!(Spread::of(&[]).to_string(), "— (—–—)");
    }

    #[test]
    fn quartiles_leave_the_ends_out() {
        assert_eq!(Quartiles::of(&[9.0, 1.0, 2.0, 3.0, 4.0]).to_string(), "3.00 (2.00–4.00)");
        assert_eq!(Quartiles::of(&[1.0, 2.0]).to_string(), "1.50 (1.25–1.75)");
        assert_eq!(Quartiles::ratio(&[2.0, f64::NAN], &[1.0, 1.0]).to_string(), "2.00 (2.00–2.00)");
        assert_eq!(Quartiles::of(&[f64::NAN]).to_string(), "—");
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        let written: Vec<String> = [1_234_567.0, 999.7, 123.4, 12.345, 1.2345, 0.1234, 0.0123, 0.0].map(short).into();
        assert_eq!(written, ["1,234,567", "1,000", "123", "12.3", "1.23", "0.12", "0.012", "0"]);
    }

    #[test]
    fn a_percentile_is_a_latency_that_was_measured() {
        let mut latencies = Latencies::default();
        (1..=200).for_each(|millis| latencies.add(Duration::from_millis(millis)));
        assert_eq!((latencies.median(), latencies.within(0.99), latencies.within(1.0)), (100.0, 198.0, 200.0));
    }

    #[test]
    fn dice_fall_the_same_way_in_every_run() {
        let (mut one, mut same, mut other) = (Dice::seeded(1), Dice::seeded(1), Dice::seeded(2));
        let falls = |dice: &mut Dice| (0..8).map(|_| dice.below(1_000)).collect::<Vec<_>>();
        let first = falls(&mut one);
        assert_eq!(first, falls(&mut same));
        assert_ne!(first, falls(&mut other));
    }
}
