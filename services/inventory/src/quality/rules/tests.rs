use super::super::measured::Measurements;
use super::*;

/// Gives the same numbers in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `most`; a third of them small, where the bands are narrow.
    fn up_to(&mut self, most: f64) -> f64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        if self.next().is_multiple_of(3) { share * most / 20.0 } else { share * most }
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (!self.next().is_multiple_of(8)).then_some(value)
    }

    fn measured(&mut self) -> Measurements {
        let (size, color, defects) = (self.up_to(1_000.0), self.up_to(100.0), self.up_to(40.0) as u32);
        let moisture = self.up_to(100.0);
        let (size, moisture) = (self.maybe(size), self.maybe(moisture));
        Measurements { size, color_score: self.maybe(color), defect_count: self.maybe(defects), moisture }
    }
}

fn sample(measured: Measurements) -> Sample {
    measured.checked("").expect("in range")
}

fn predict(size: f64, color: f64, defects: u32, moisture: f64) -> Prediction {
    let measured = Measurements {
        size: Some(size),
        color_score: Some(color),
        defect_count: Some(defects),
        moisture: Some(moisture),
    };
    Rules::built_in().predict(&sample(measured))
}

#[test]
fn the_example_of_the_contract_comes_out() {
    let found = predict(42.0, 88.0, 1, 11.5);
    assert_eq!((found.grade, found.confidence, found.score), (Grade::A, 0.92, 96.0));
    let points: f64 = found.reasons.iter().map(|reason| reason.points).sum();
    assert_eq!((found.reasons.len(), points), (4, 96.0));
    assert_eq!(found.reasons[2].message, "defects 1: a single one, 28 of 30 points");
}

#[test]
fn grades_follow_what_is_seen() {
    for (grade, found) in [
        (Grade::A, predict(55.0, 95.0, 0, 12.0)),
        (Grade::B, predict(25.0, 75.0, 3, 13.5)),
        (Grade::B, predict(55.0, 95.0, 6, 12.0)),
        (Grade::C, predict(15.0, 50.0, 8, 15.0)),
        (Grade::C, predict(55.0, 95.0, 25, 12.0)),
        (Grade::C, predict(55.0, 95.0, 0, 18.0)),
        (Grade::C, predict(0.0, 0.0, 10_000, 100.0)),
        (Grade::C, predict(1_000.0, 0.0, 10_000, 0.0)),
    ] {
        assert_eq!(found.grade, grade, "{found:?}");
    }
}

#[test]
fn a_cap_is_a_reason_where_it_took_something() {
    let capped = predict(55.0, 95.0, 30, 19.0);
    assert_eq!((capped.score, capped.grade), (30.0, Grade::C));
    let last = capped.reasons.last().expect("reasons");
    assert_eq!((last.rule.as_str(), last.points), ("defects.never_good", -23.0));
    assert_eq!(capped.reasons.iter().map(|reason| reason.points).sum::<f64>(), 30.0);
    assert_eq!(predict(0.0, 0.0, 30, 50.0).reasons.len(), 4, "nothing was left to take");
}

#[test]
fn what_is_missing_lowers_the_confidence_and_not_the_grade() {
    let whole = Measurements { size: Some(42.0), color_score: Some(95.0), defect_count: Some(0), moisture: Some(11.0) };
    let rules = Rules::built_in();
    let sure = rules.predict(&sample(whole));
    assert_eq!((sure.grade, sure.confidence), (Grade::A, 1.0));
    for (left_out, share) in [
        (Measurements { size: None, ..whole }, 0.8),
        (Measurements { color_score: None, ..whole }, 0.7),
        (Measurements { defect_count: None, ..whole }, 0.7),
        (Measurements { moisture: Some(11.0), ..Measurements::default() }, 0.2),
    ] {
        let found = rules.predict(&sample(left_out));
        assert_eq!((found.grade, found.score, found.confidence), (Grade::A, 100.0, share), "{left_out:?}");
    }
}

/// Says that one assessment is at least as good as another of the same measurements.
fn no_worse(rules: &Rules, one: Assessment, other: Assessment, what: &str, of: &Measurements) {
    let (better, worse) = (rules.grade(one.score), rules.grade(other.score));
    assert!(one.score >= other.score && better >= worse, "{what}: {one:?} {other:?} {of:?}");
}

#[test]
fn a_million_samples_keep_the_promises() {
    let rules = Rules::built_in();
    let mut numbers = Numbers(20_261_121);
    let mut tried = 0;
    let mut seen = [0_u32; 3];
    while tried < 1_000_000 {
        let measured = numbers.measured();
        let Ok(sampled) = measured.checked("") else { continue };
        tried += 1;
        let found = rules.assess(&sampled);
        let confidence = rules.confidence(found);
        assert!(found.score <= 1_000 && (1..=100).contains(&confidence), "{found:?} {confidence} {measured:?}");
        seen[rules.grade(found.score) as usize] += 1;
        // One direction a sample: every direction is tried often enough.
        match tried % 4 {
            0 | 1 => {
                let Some(defects) = measured.defect_count else { continue };
                let more = defects + 1 + (numbers.next() % 30) as u32;
                let worse = Measurements { defect_count: Some(more), ..measured };
                no_worse(&rules, found, rules.assess(&sample(worse)), "more defects", &measured);
            }
            2 => {
                let Some(color) = measured.color_score else { continue };
                let better = Measurements { color_score: Some(color + numbers.up_to(100.0 - color)), ..measured };
                no_worse(&rules, rules.assess(&sample(better)), found, "more colour", &measured);
            }
            _ => {
                let Some(moisture) = measured.moisture.filter(|moisture| *moisture >= 10.0) else { continue };
                let wetter = Measurements { moisture: Some(moisture + numbers.up_to(100.0 - moisture)), ..measured };
                no_worse(&rules, found, rules.assess(&sample(wetter)), "wetter than preferred", &measured);
            }
        }
    }
    assert!(seen.iter().all(|seen| *seen > 10_000), "not all grades were seen: {seen:?}");
}

#[test]
fn the_same_sample_gives_the_same_prediction() {
    let (one, other) = (Rules::built_in(), Rules::built_in());
    let mut numbers = Numbers(7);
    for _ in 0..2_000 {
        let Ok(sampled) = numbers.measured().checked("") else { continue };
        assert_eq!(one.predict(&sampled), other.predict(&sampled));
    }
}

#[test]
fn unsound_rules_are_refused() {
    assert!(Rules::read(V1).is_ok());
    for (from, to, why) in [
        (r#""A": 75"#, r#""A": 50"#, "the borders"),
        (r#""certain": 25"#, r#""certain": 0"#, "certain"),
        (r#""from": 10, "points": 6, "rule": "size"#, r#""from": 0, "points": 6, "rule": "size"#, "the bands"),
        (r#""points": 15, "rule": "color.fair""#, r#""points": 23, "rule": "color.fair""#, "More is better"),
        (r#""points": 24, "rule": "defects.few""#, r#""points": 29, "rule": "defects.few""#, "Less is better"),
        (r#""points": 11, "rule": "size.small""#, r#""points": 3, "rule": "size.small""#, "Between is better"),
        (r#""points": 30, "rule": "color.excellent""#, r#""points": 31, "rule": "color.excellent""#, "101 points"),
        (r#""rule": "color.off""#, r#""rule": "color.poor""#, "two rules"),
        (r#""input": "moisture", "from": 18"#, r#""input": "moisture", "from": 9"#, "beyond the best band"),
        (r#""input": "moisture", "from": 18"#, r#""input": "colorScore", "from": 95"#, "beyond the best band"),
        (r#""input": "moisture", "from": 18"#, r#""input": "moisture", "from": 118"#, "within the range"),
        (r#""input": "size","#, r#""input": "moisture","#, "size: there must be one"),
        (r#""name""#, r#""nome""#, "unknown field"),
    ] {
        assert!(V1.contains(from), "{from} is no longer there");
        let error = Rules::read(&V1.replacen(from, to, 1)).expect_err(to);
        assert!(error.contains(why), "{to}: {error}");
    }
}
