//! Buckets at every pace, under changed rates and extreme numbers.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn rate(requests: u64, seconds: u64, burst: u64) -> Rate {
    Rate::new(requests, seconds, burst)
}

fn take(bucket: &mut Bucket, rate: &Rate, cost: u64, now: u64) -> Taken {
    bucket.take(rate, cost, 1, false, now)
}

#[test]
fn a_burst_passes_and_then_one_per_interval() {
    let rate = rate(10, 1, 5);
    let mut bucket = Bucket::default();
    for left in (0..5).rev() {
        let taken = take(&mut bucket, &rate, 1, SECOND);
        assert_eq!((taken.wait, taken.remaining(5)), (0, left));
    }
    let refused = take(&mut bucket, &rate, 1, SECOND);
    assert_eq!((refused.wait, refused.remaining(5)), (SECOND / 10, 0));
    assert!(take(&mut bucket, &rate, 1, SECOND + SECOND / 10 - 1).wait > 0);
    assert_eq!(take(&mut bucket, &rate, 1, SECOND + SECOND / 10).wait, 0);
    assert!(take(&mut bucket, &rate, 1, SECOND + SECOND / 10).wait > 0);
    assert_eq!(take(&mut bucket, &rate, 5, SECOND * 10).remaining(5), 0, "a rest fills it, no more than full");
}

#[test]
fn a_request_may_weigh_more_and_a_refused_one_costs_nothing() {
    let rate = rate(100, 100, 10);
    let mut bucket = Bucket::default();
    assert_eq!(take(&mut bucket, &rate, 7, SECOND).remaining(10), 3);
    let before = bucket;
    assert_eq!(take(&mut bucket, &rate, 4, SECOND).wait, SECOND);
    assert_eq!(bucket, before);
    assert_eq!(take(&mut bucket, &rate, 3, SECOND).remaining(10), 0);
    bucket.give_back(3);
    assert_eq!(take(&mut bucket, &rate, 3, SECOND).wait, 0);
}

#[test]
fn over_every_window_no_more_passes_than_burst_and_rate_allow() {
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..200 {
        let rate = rate(1 + random(50), 1 + random(10), 1 + random(20));
        let (mut bucket, mut now, mut passed) = (Bucket::default(), 1, Vec::new());
        for _ in 0..500 {
            now += random(rate.interval * 2);
            let cost = 1 + random(rate.burst);
            if take(&mut bucket, &rate, cost, now).wait == 0 {
                passed.push((now, cost));
            }
        }
        for from in 0..passed.len() {
            let mut sum = 0;
            for (at, cost) in &passed[from..] {
                sum += cost;
                assert!(sum * rate.interval <= rate.burst * rate.interval + (at - passed[from].0), "{rate:?}");
            }
        }
    }
}

#[test]
fn a_changed_rate_leaves_what_was_taken_taken() {
    let old = Rate { generation: 1, ..rate(10, 10, 10) };
    let mut bucket = Bucket::default();
    assert_eq!(take(&mut bucket, &old, 8, SECOND).remaining(10), 2);
    // Twice as much, two seconds later: two were earned back, six are still taken.
    let new = Rate { generation: 2, since: 3 * SECOND, ..rate(20, 10, 20) };
    assert_eq!(take(&mut bucket, &new, 1, 3 * SECOND).remaining(20), 13);
    // A request on the old plan goes by the new rate, and does not turn it back.
    let before = bucket.interval;
    take(&mut bucket, &old, 1, 3 * SECOND);
    assert_eq!(bucket.interval, before);

    let mut bucket = Bucket::default();
    take(&mut bucket, &old, 10, SECOND);
    let slower = Rate { generation: 3, since: SECOND, ..rate(1, 10, 10) };
    let refused = take(&mut bucket, &slower, 1, SECOND);
    assert_eq!((refused.wait, refused.remaining(10)), (10 * SECOND, 0), "an empty bucket stays empty");
}

#[test]
fn what_is_forced_is_counted_but_never_below_empty() {
    let rate = rate(10, 10, 10);
    let mut bucket = Bucket::default();
    for _ in 0..100 {
        assert_eq!(bucket.take(&rate, 1, 1, true, SECOND).wait, 0);
    }
    assert_eq!(take(&mut bucket, &rate, 1, SECOND).wait, SECOND);
}

#[test]
fn a_share_is_a_part_of_burst_and_rate_and_at_least_one_request() {
    let rate = rate(10, 10, 10);
    let mut bucket = Bucket::default();
    let passed = (0..10).filter(|_| bucket.take(&rate, 1, 5, false, SECOND).wait == 0).count();
    assert_eq!(passed, 2);
    assert_eq!(bucket.take(&rate, 1, 5, false, SECOND).wait, 5 * SECOND);
    let mut alone = Bucket::default();
    assert_eq!(alone.take(&rate, 1, 100, false, SECOND).wait, 0, "more nodes than the burst has units");
    assert!(alone.take(&rate, 1, 100, false, SECOND).wait > 0);
}

#[test]
fn extreme_numbers_do_not_overflow() {
    let rate = rate(1, 31 * 86_400, 11);
    let mut bucket = Bucket { full_at: u64::MAX, ..Bucket::default() };
    assert!(bucket.take(&rate, u64::MAX, u64::MAX, false, 1).wait > 0);
    let _ = bucket.take(&rate, u64::MAX, u64::MAX, true, u64::MAX);
    bucket.learn(&rate, u64::MAX, u64::MAX);
    bucket.give_back(u64::MAX);
}
