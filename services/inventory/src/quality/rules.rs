//! The rules that predict as long as nothing was trained: bands with points, and caps on the score.
//! They are data (`v1.json`), checked when they are read. Not for models that learn.

mod check;

use serde::Deserialize;

use super::measured::{Input, Sample};
use super::{Grade, ModelInfo, ModelKind, Predicting, Prediction, QualityModel, QualityReason};

const V1: &str = include_str!("rules/v1.json");

/// A set of rules. All its numbers of points are whole, so that every machine computes the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    name: String,
    version: String,
    grades: Borders,
    /// So far from the nearest border, in points, a grade is certain.
    certain: u32,
    inputs: Vec<Rule>,
    caps: Vec<Cap>,
}

/// The least scores of the two better grades.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Borders {
    #[serde(rename = "A")]
    a: u32,
    #[serde(rename = "B")]
    b: u32,
}

/// What one measurement is worth.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    input: Input,
    better: Better,
    bands: Vec<Band>,
}

/// Which way a measurement is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Better {
    More,
    Less,
    Between,
}

/// A range of values, up to where the next one begins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Band {
    from: f64,
    points: u32,
    rule: String,
    says: String,
}

/// The most that a score can be from some value on, whatever else is good.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cap {
    input: Input,
    from: f64,
    score: u32,
    rule: String,
    says: String,
}

/// What the rules make of a sample, in tenths of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Assessment {
    /// The score before the caps.
    uncapped: u32,
    score: u32,
    /// The points that were to be had, of 100: fewer when measurements are missing.
    possible: u32,
}

impl Rule {
    /// Returns the most points that are to be had.
    fn most(&self) -> u32 {
        self.bands.iter().map(|band| band.points).max().unwrap_or(0)
    }

    fn band(&self, value: f64) -> Option<&Band> {
        self.bands.iter().rev().find(|band| band.from <= value)
    }
}

impl Rules {
    /// Returns the rules that are compiled in.
    pub(crate) fn built_in() -> Self {
        Self::read(V1).expect("the rules that are compiled in are sound: a test reads them")
    }

    /// Reads rules, or says what is wrong with them.
    fn read(json: &str) -> Result<Self, String> {
        let rules: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        check::check(&rules)?;
        Ok(rules)
    }

    fn assess(&self, sample: &Sample) -> Assessment {
        let (mut got, mut possible) = (0, 0);
        for rule in &self.inputs {
            if let Some(band) = sample.value(rule.input).and_then(|value| rule.band(value)) {
                got += band.points;
                possible += rule.most();
            }
        }
        // A sample has at least one measurement, and each is worth something.
        let uncapped = (got * 1_000 + possible / 2).checked_div(possible).unwrap_or(0);
        let score = self.caps(sample).map(|cap| cap.score * 10).fold(uncapped, u32::min);
        Assessment { uncapped, score, possible }
    }

    /// Returns the caps that apply.
    fn caps(&self, sample: &Sample) -> impl Iterator<Item = &Cap> {
        self.caps.iter().filter(|cap| sample.value(cap.input).is_some_and(|value| value >= cap.from))
    }

    fn grade(&self, score: u32) -> Grade {
        match score {
            score if score >= self.grades.a * 10 => Grade::A,
            score if score >= self.grades.b * 10 => Grade::B,
            _ => Grade::C,
        }
    }

    /// Returns how sure the grade is, in hundredths: half for a score on a border and all of it
    /// `certain` points away, times the share of the points that were to be had.
    fn confidence(&self, found: Assessment) -> u32 {
        let (certain, score) = (self.certain * 10, found.score);
        let away = score.abs_diff(self.grades.a * 10).min(score.abs_diff(self.grades.b * 10)).min(certain);
        ((certain + away) * found.possible + certain) / (2 * certain)
    }

    fn reasons(&self, sample: &Sample, found: Assessment) -> Vec<QualityReason> {
        let mut reasons = Vec::new();
        for rule in &self.inputs {
            let Some(value) = sample.value(rule.input) else { continue };
            let Some(band) = rule.band(value) else { continue };
            reasons.push(QualityReason {
                rule: band.rule.clone(),
                input: rule.input,
                value,
                points: f64::from(band.points),
                message: format!(
                    "{}: {}, {} of {} points",
                    measured(rule.input, value),
                    band.says,
                    band.points,
                    rule.most()
                ),
            });
        }
        // Of several caps the lowest counts; one that takes nothing away is no reason.
        let lowest = self.caps(sample).min_by_key(|cap| cap.score).filter(|_| found.score < found.uncapped);
        reasons.extend(lowest.and_then(|cap| {
            let value = sample.value(cap.input)?;
            Some(QualityReason {
                rule: cap.rule.clone(),
                input: cap.input,
                value,
                points: (f64::from(found.score) - f64::from(found.uncapped)) / 10.0,
                message: format!("{}: {}, {} points at most", measured(cap.input, value), cap.says, cap.score),
            })
        }));
        reasons
    }

    fn predict(&self, sample: &Sample) -> Prediction {
        let found = self.assess(sample);
        Prediction {
            grade: self.grade(found.score),
            confidence: f64::from(self.confidence(found)) / 100.0,
            score: f64::from(found.score) / 10.0,
            reasons: self.reasons(sample, found),
        }
    }
}

/// Writes a measurement for people.
fn measured(input: Input, value: f64) -> String {
    match input {
        Input::Size => format!("size {value} mm"),
        Input::ColorScore => format!("colour {value} of 100"),
        Input::DefectCount => format!("defects {value}"),
        Input::Moisture => format!("moisture {value} %"),
    }
}

impl QualityModel for Rules {
    fn describe(&self) -> ModelInfo {
        ModelInfo { name: self.name.clone(), version: self.version.clone(), kind: ModelKind::Rules }
    }

    fn predict<'a>(&'a self, sample: &'a Sample) -> Predicting<'a> {
        Box::pin(std::future::ready(Ok(self.predict(sample))))
    }
}

#[cfg(test)]
mod tests;
