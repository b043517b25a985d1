//! Counts things and some marked ones over the last stretch of time, in ten slices. Not for metrics, which
//! never forget.

use std::time::{Duration, Instant};

const SLICES: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    all: u32,
    marked: u32,
}

/// A rolling window. It is empty until something is counted.
#[derive(Debug)]
pub(crate) struct Window {
    width: Duration,
    slices: [Slice; SLICES],
    current: usize,
    /// When the current slice began; nothing has been counted without it.
    since: Option<Instant>,
    sum: Slice,
}

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        let width = (length / SLICES as u32).max(Duration::from_millis(1));
        Self { width, slices: Default::default(), current: 0, since: None, sum: Slice::default() }
    }

    /// Forgets what is too old.
    pub(crate) fn roll(&mut self, now: Instant) {
        let Some(since) = self.since else { return };
        let passed = now.saturating_duration_since(since);
        if passed < self.width {
            return;
        }
        let steps = passed.as_nanos() / self.width.as_nanos();
        if steps >= SLICES as u128 {
            self.clear();
            return;
        }
        let steps = steps as u32;
        for _ in 0..steps {
            self.current = (self.current + 1) % SLICES;
            let old = std::mem::take(&mut self.slices[self.current]);
            self.sum.all -= old.all;
            self.sum.marked -= old.marked;
        }
        self.since = Some(since + self.width * steps);
        if self.sum.all == 0 && self.sum.marked == 0 {
            self.clear();
        }
    }

    /// Counts one; call [`Window::roll`] before.
    pub(crate) fn count(&mut self, now: Instant, all: u32, marked: u32) {
        self.since.get_or_insert(now);
        for slice in [&mut self.slices[self.current], &mut self.sum] {
            slice.all = slice.all.saturating_add(all);
            slice.marked = slice.marked.saturating_add(marked);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.width * SLICES as u32);
    }

    pub(crate) fn all(&self) -> u32 {
        self.sum.all
    }

    pub(crate) fn marked(&self) -> u32 {
        self.sum.marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(10));
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            window.roll(now);
            window.count(now, 1, u32::from(second % 2 == 0));
            assert_eq!(u64::from(window.all()), (second + 1).min(10));
        }
        assert_eq!(window.marked(), 5);
        window.roll(start + Duration::from_secs(60));
        assert_eq!((window.all(), window.marked()), (0, 0));
    }
}
