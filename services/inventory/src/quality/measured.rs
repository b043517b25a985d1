//! What was measured on goods, as clients send it and as models get it: every number finite and in
//! its range. Not for what follows from it.

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityInput)]
pub enum Input {
    /// The diameter in millimetres, 0 to 1000.
    Size,
    /// How near the colour is to the wanted one, 0 to 100.
    ColorScore,
    /// How many defects were counted, 0 to 10000.
    DefectCount,
    /// Water by weight in percent, 0 to 100.
    Moisture,
}

impl Input {
    /// Everything that is measured.
    pub const ALL: [Self; 4] = [Self::Size, Self::ColorScore, Self::DefectCount, Self::Moisture];

    /// Returns the input's name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::ColorScore => "colorScore",
            Self::DefectCount => "defectCount",
            Self::Moisture => "moisture",
        }
    }

    /// Returns the largest value that is taken; the least is 0.
    pub const fn most(self) -> f64 {
        match self {
            Self::Size => 1_000.0,
            Self::ColorScore | Self::Moisture => 100.0,
            Self::DefectCount => 10_000.0,
        }
    }
}

/// What was measured. Leave out, or set to null, what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = QualityMeasurements)]
pub struct Measurements {
    /// The diameter in millimetres.
    #[schema(minimum = 0, maximum = 1000)]
    pub size: Option<f64>,
    /// How near the colour is to the wanted one; 100 is the same.
    #[schema(minimum = 0, maximum = 100)]
    pub color_score: Option<f64>,
    /// How many defects were counted, a whole number.
    #[schema(minimum = 0, maximum = 10000)]
    pub defect_count: Option<u32>,
    /// Water by weight, in percent.
    #[schema(minimum = 0, maximum = 100)]
    pub moisture: Option<f64>,
}

impl Measurements {
    fn value(&self, input: Input) -> Option<f64> {
        match input {
            Input::Size => self.size,
            Input::ColorScore => self.color_score,
            Input::DefectCount => self.defect_count.map(f64::from),
            Input::Moisture => self.moisture,
        }
    }

    /// Returns the measurements that there are not.
    pub fn missing(&self) -> impl Iterator<Item = Input> {
        Input::ALL.into_iter().filter(|input| self.value(*input).is_none())
    }

    /// Returns the sample, or all that is wrong with it; `within` goes before the fields' names.
    pub fn checked(&self, within: &str) -> Result<Sample> {
        let mut wrong = Vec::new();
        for input in Input::ALL {
            let out = self.value(input).is_some_and(|value| !(0.0..=input.most()).contains(&value));
            if out {
                wrong.push((input, format!("must be from 0 to {}", input.most())));
            }
        }
        if self.missing().count() == Input::ALL.len() {
            wrong = Input::ALL.map(|input| (input, "at least one measurement is needed".to_owned())).into();
        }
        if wrong.is_empty() {
            return Ok(Sample(*self));
        }
        let invalid = Error::invalid("request.invalid_body", "the body is not valid");
        Err(wrong
            .into_iter()
            .fold(invalid, |error, (input, why)| error.field(format!("{within}{}", input.name()), why)))
    }
}

/// What was measured: at least one number, each finite and in its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample(Measurements);

impl Sample {
    /// Returns what was measured of this, if it was.
    pub fn value(&self, input: Input) -> Option<f64> {
        // A negative zero is a zero, also for whoever reads it in a reason.
        self.0.value(input).map(|value| value + 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(measured: Measurements) -> Vec<String> {
        let error = measured.checked("m.").expect_err("refused");
        error.fields().iter().map(|field| field.field.clone()).collect()
    }

    #[test]
    fn what_is_out_of_range_is_named_all_at_once() {
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 1e300, 1_000.1] {
            let measured = Measurements {
                size: Some(wrong),
                color_score: Some(wrong),
                moisture: Some(wrong),
                ..Default::default()
            };
            assert_eq!(fields(measured), ["m.size", "m.colorScore", "m.moisture"], "{wrong}");
        }
        assert_eq!(fields(Measurements { defect_count: Some(10_001), ..Default::default() }), ["m.defectCount"]);
        assert_eq!(fields(Measurements::default()).len(), 4);
    }

    #[test]
    fn the_ends_of_the_ranges_are_taken_and_zero_has_no_sign() {
        for measured in [
            Measurements { size: Some(0.0), color_score: Some(0.0), defect_count: Some(0), moisture: Some(0.0) },
            Measurements {
                size: Some(1_000.0),
                color_score: Some(100.0),
                defect_count: Some(10_000),
                moisture: Some(100.0),
            },
        ] {
            assert!(measured.checked("").is_ok(), "{measured:?}");
        }
        let sample = Measurements { size: Some(-0.0), ..Default::default() }.checked("").expect("a zero");
        assert!(sample.value(Input::Size).is_some_and(f64::is_sign_positive));
        assert_eq!(sample.value(Input::Moisture), None);
    }
}
