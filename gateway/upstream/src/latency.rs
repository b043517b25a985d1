//! How long answers take: a peak-EWMA per server for balancing, a histogram per upstream for hedging. Not
//! for metrics.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a server that has not answered yet is taken to need.
const UNKNOWN: f64 = 30e6;
/// How fast the average forgets, in nanoseconds.
const DECAY: f64 = 10e9;

/// A peak-sensitive moving average of nanoseconds: it follows a rise at once and a fall slowly (Linkerd's
/// peak EWMA). Two cores may overwrite each other's sample; that does no harm.
#[derive(Debug)]
pub(crate) struct PeakEwma {
    average: AtomicU64,
    stamp: AtomicU64,
    since: Instant,
}

impl PeakEwma {
    pub(crate) fn new(now: Instant) -> Self {
        Self { average: AtomicU64::new(UNKNOWN.to_bits()), stamp: AtomicU64::new(0), since: now }
    }

    fn at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_nanos() as u64
    }

    /// Notes how long an answer took.
    pub(crate) fn observe(&self, now: Instant, took: Duration) {
        let took = took.as_nanos() as f64;
        let at = self.at(now);
        let before = self.stamp.swap(at, Ordering::Relaxed);
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        let next = if took > average || before == 0 {
            took
        } else {
            let weight = (-(at.saturating_sub(before) as f64) / DECAY).exp();
            average * weight + took * (1.0 - weight)
        };
        self.average.store(next.to_bits(), Ordering::Relaxed);
    }

    /// Returns what another request would cost, with so many in flight. What was slow long ago is tried
    /// again, and what is new is tried with one request.
    pub(crate) fn cost(&self, now: Instant, in_flight: u32) -> f64 {
        let stamp = self.stamp.load(Ordering::Relaxed);
        if stamp == 0 && in_flight == 0 {
            return 0.0;
        }
        let average = f64::from_bits(self.average.load(Ordering::Relaxed));
        let idle = self.at(now).saturating_sub(stamp) as f64;
        average * (-idle / DECAY).exp() * f64::from(in_flight + 1)
    }
}

const BUCKETS: usize = 64;
/// Samples after which old ones weigh half.
const ENOUGH: u32 = 4096;

/// A histogram of milliseconds with four buckets per doubling, from a quarter of a millisecond on.
#[derive(Debug)]
pub(crate) struct Percentiles {
    buckets: [AtomicU32; BUCKETS],
    all: AtomicU32,
}

impl Default for Percentiles {
    fn default() -> Self {
        Self { buckets: [const { AtomicU32::new(0) }; BUCKETS], all: AtomicU32::new(0) }
    }
}

impl Percentiles {
    pub(crate) fn observe(&self, took: Duration) {
        let quarters = (took.as_secs_f64() * 4000.0).max(1.0);
        let bucket = ((quarters.log2() * 4.0) as usize).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        if self.all.fetch_add(1, Ordering::Relaxed) >= ENOUGH {
            for bucket in &self.buckets {
                let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(count / 2));
            }
            self.all.store(self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum(), Ordering::Relaxed);
        }
    }

    /// Returns the time within which this share of the answers came; none before there are 20.
    pub(crate) fn within(&self, share: f64) -> Option<Duration> {
        let counts: Vec<u32> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let all: u32 = counts.iter().sum();
        if all < 20 {
            return None;
        }
        let wanted = f64::from(all) * share;
        let mut seen = 0.0;
        let bucket = counts.iter().position(|count| {
            seen += f64::from(*count);
            seen >= wanted
        })?;
        // The upper end of the bucket.
        Some(Duration::from_secs_f64(2_f64.powf((bucket + 1) as f64 / 4.0) / 4000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_counts_at_once_and_a_fall_slowly() {
        let start = Instant::now();
        let ewma = PeakEwma::new(start);
        assert!(ewma.cost(start, 0) < ewma.cost(start, 1), "one request finds out");
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        ewma.observe(at(1.0), Duration::from_millis(10));
        ewma.observe(at(1.1), Duration::from_millis(100));
        assert!(ewma.cost(at(1.1), 0) > 99e6);
        ewma.observe(at(1.2), Duration::from_millis(10));
        let slow = ewma.cost(at(1.2), 0);
        assert!(slow > 90e6 && slow < 100e6, "{slow}");
        assert!(ewma.cost(at(1.2), 1) > 1.9 * slow, "requests in flight multiply it");
        assert!(ewma.cost(at(60.0), 0) < 1e6, "it is tried again after a while");
    }

    #[test]
    fn the_95th_percentile_is_near() {
        let percentiles = Percentiles::default();
        assert_eq!(percentiles.within(0.95), None);
        for n in 0..1000_u64 {
            percentiles.observe(Duration::from_millis(if n % 10 == 0 { 200 } else { 10 }));
        }
        let near = percentiles.within(0.85).expect("enough").as_millis();
        assert!((10..13).contains(&near), "{near}");
        let far = percentiles.within(0.95).expect("enough").as_millis();
        assert!((200..250).contains(&far), "{far}");
    }
}
