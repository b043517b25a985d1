//! Tables that are too small for what comes: nobody gains by that.

use super::super::gcra::Rate;
use super::*;

const SECOND: u64 = 1_000_000_000;

/// A key as the hashes make them.
fn key(number: u64) -> u128 {
    let mixed = u128::from(number.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    mixed ^ mixed.rotate_left(64)
}

fn passes(table: &Table, rate: &Rate, number: u64, now: u64) -> bool {
    table.with(key(number), now, |bucket| bucket.take(rate, 1, 1, false, now).wait == 0)
}

#[test]
fn keys_are_counted_apart_and_the_table_grows() {
    let (table, rate) = (Table::new(4_096), Rate::new(3, 3, 3));
    for _ in 0..3 {
        for number in 0..1_000 {
            assert!(passes(&table, &rate, number, SECOND), "{number}");
        }
    }
    for number in 0..1_000 {
        assert!(!passes(&table, &rate, number, SECOND), "{number}");
    }
    assert!(!table.is_idle(SECOND) && table.is_idle(4 * SECOND));
}

#[test]
fn memory_is_bounded_and_rested_buckets_give_their_place() {
    let (table, rate) = (Table::new(64), Rate::new(3, 3, 3));
    for number in 0..100_000 {
        let now = SECOND + number * SECOND;
        assert!(passes(&table, &rate, number, now), "buckets that are full push nobody");
    }
    assert!(table.sets.read().expect("read").len() <= 8);
}

#[test]
fn a_flood_of_keys_does_not_give_anybody_a_fresh_bucket() {
    let (table, rate) = (Table::new(64), Rate::new(10, 10, 10));
    // Someone spends a bucket, then pushes it out with a hundred thousand other keys, and comes again.
    for _ in 0..10 {
        assert!(passes(&table, &rate, 0, SECOND));
    }
    let mut again = 0;
    for number in 1..100_000 {
        passes(&table, &rate, number, SECOND);
        if number % 100 == 0 && passes(&table, &rate, 0, SECOND) {
            again += 1;
        }
    }
    assert_eq!(again, 0);
    // All of them together got no more than the buckets that there are hold.
    let fresh = Table::new(64);
    let passed = (0..100_000).filter(|number| passes(&fresh, &rate, *number, SECOND)).count();
    assert!(passed <= 64 * 10, "{passed}");
    // When it is over, everybody has a full bucket again.
    assert!((0..8).all(|number| passes(&fresh, &rate, number, 12 * SECOND)));
}

#[test]
fn whoever_is_pushed_out_comes_back_with_no_more_than_before() {
    // Each key's own count, next to a table too small for them.
    let (table, rate) = (Table::new(16), Rate::new(5, 50, 5));
    let mut seed = 3_u64;
    let (mut now, mut counted) = (SECOND, vec![Bucket::default(); 200]);
    for _ in 0..50_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        now += seed >> 38;
        let number = (seed >> 33) % 200;
        let exact = &mut counted[number as usize];
        if passes(&table, &rate, number, now) {
            assert_eq!(exact.take(&rate, 1, 1, false, now).wait, 0, "passed what an exact count would not");
        }
    }
}

#[test]
fn many_threads_share_one_count() {
    let (table, rate) = (Table::new(1_024), Rate::new(1, 1_000, 500));
    let passed: usize = std::thread::scope(|scope| {
        let run = |_| (0..500).filter(|number| passes(&table, &rate, number % 2, SECOND)).count();
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(passed, 1_000);
}
