//! Random ids of traces and spans: xoroshiro128++, seeded by the system on each thread. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    static STATE: Cell<[u64; 2]> = Cell::new(seed());
}

fn seed() -> [u64; 2] {
    let mut bytes = [0; 16];
    let fine = getrandom::fill(&mut bytes).is_ok();
    let [high, low] = [&bytes[..8], &bytes[8..]].map(|half| u64::from_le_bytes(half.try_into().expect("eight bytes")));
    // Ids need not be secret, so the process's own hash keys do as well.
    if fine && high | low != 0 { [high, low] } else { [RandomState::new().hash_one(0_u8) | 1, 1] }
}

fn next() -> u64 {
    STATE.with(|state| {
        let [a, mut b] = state.get();
        let drawn = a.wrapping_add(b).rotate_left(17).wrapping_add(a);
        b ^= a;
        state.set([a.rotate_left(49) ^ b ^ (b << 21), b.rotate_left(28)]);
        drawn
    })
}

/// Returns a new id of a span, which is never zero.
pub(crate) fn span_id() -> u64 {
    loop {
        let id = next();
        if id != 0 {
            return id;
        }
    }
}

/// Returns a new id of a trace, which is never zero.
pub(crate) fn trace_id() -> u128 {
    u128::from(next()) << 64 | u128::from(span_id())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_on_all_threads() {
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| (0..5_000).map(|_| trace_id()).collect())).collect();
        let drawn: Vec<Vec<u128>> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let distinct: HashSet<u128> = drawn.iter().flatten().copied().collect();
        assert_eq!(distinct.len(), 20_000);
        let ones: u32 = distinct.iter().map(|id| id.count_ones()).sum();
        assert!((1_270_000..1_290_000).contains(&ones), "half of the bits are set, not {ones}");
    }
}
