//! Predicts the quality of goods from what was measured on them. What predicts is a [`QualityModel`]:
//! rules that are compiled in, unless the installation puts a trained model in their place. Not for
//! what a batch's check found: see `qc_webhook`.

mod measured;
mod rules;

use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use kernel::{Answer, Error, Result};
use serde::{Deserialize, Serialize};
use service::{Feature, Operation, Shape};
use utoipa::ToSchema;
use web::{Body, Caller};

use crate::state::Inventory;

pub use measured::{Input, Measurements, Sample};
use rules::Rules;

/// How good goods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = QualityGrade)]
pub enum Grade {
    /// Fails what is asked of goods for sale.
    C,
    /// Good enough for most purposes.
    B,
    /// The best there is.
    A,
}

impl Grade {
    /// Returns the grade as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// Why a prediction is what it is, in one respect.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QualityReason {
    /// Names the rule, such as `defects.few`.
    pub rule: String,
    /// What it looked at: `size`, `colorScore`, `defectCount` or `moisture`.
    pub input: Input,
    /// What was measured.
    pub value: f64,
    /// What this added to the score, or took away, in points.
    pub points: f64,
    /// The same for people.
    pub message: String,
}

/// What a model predicts.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QualityGuess)]
pub struct Prediction {
    /// How good the goods are.
    pub grade: Grade,
    /// How sure that is: 0 is a guess, 1 is certain.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f64,
    /// The points that the grade stands on.
    #[schema(minimum = 0, maximum = 100)]
    pub score: f64,
    /// Why, one reason for each thing that counted.
    pub reasons: Vec<QualityReason>,
}

/// What sort of model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = QualityModelKind)]
pub enum ModelKind {
    /// Somebody wrote its rules down.
    Rules,
    /// It was trained on examples.
    Trained,
}

/// Which model predicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = QualityModel)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its version: a change of what it predicts is another one.
    pub version: String,
    /// What sort of model it is.
    pub kind: ModelKind,
}

/// A prediction in the making.
pub type Predicting<'a> = Pin<Box<dyn Future<Output = Result<Prediction>> + Send + 'a>>;

/// Predicts quality. It may compute here or ask elsewhere; it is never called inside a transaction.
pub trait QualityModel: Send + Sync + 'static {
    /// Says which model it is.
    fn describe(&self) -> ModelInfo;

    /// Predicts. The same sample must always give the same prediction.
    fn predict<'a>(&'a self, sample: &'a Sample) -> Predicting<'a>;
}

/// The model that predicts here.
#[derive(Clone)]
pub struct Quality(Arc<dyn QualityModel>);

impl Default for Quality {
    /// Returns the rules that are compiled in.
    fn default() -> Self {
        Self::new(Rules::built_in())
    }
}

impl Quality {
    /// Returns this model.
    pub fn new(model: impl QualityModel) -> Self {
        Self(Arc::new(model))
    }

    /// Says which model it is.
    pub(crate) fn describe(&self) -> ModelInfo {
        self.0.describe()
    }

    /// Predicts, and keeps what no client could read away from it.
    pub(crate) async fn predict(&self, sample: &Sample) -> Result<Prediction> {
        let prediction = self.0.predict(sample).await?;
        // Written this way round, NaN is out of range too.
        let sound = (0.0..=1.0).contains(&prediction.confidence)
            && (0.0..=100.0).contains(&prediction.score)
            && prediction.reasons.iter().all(|reason| reason.value.is_finite() && reason.points.is_finite());
        if sound { Ok(prediction) } else { Err(Error::internal("a quality model predicted what is out of range")) }
    }
}

/// A prediction, and who made it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct QualityPrediction {
    /// What is predicted.
    #[serde(flatten)]
    pub prediction: Prediction,
    /// What predicted it.
    pub model: ModelInfo,
}

/// Returns `POST /api/ai/predict-quality`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/ai/predict-quality", "inventory_predict_quality", predict)
        .permission("inventory.quality.predict")
        .shape(Shape::Success)
        .feature(Feature { key: "ai.inference", summary: "Predictions by models, such as that of quality" })
        .describe(
            "Predict quality",
            "Takes what was measured and gives a grade, how sure that is, the score behind it, and the reasons. At \
             least one measurement is needed; those that are missing lower the confidence and leave the grade alone. \
             More defects never give a better grade or score. The same measurements always give the same answer as long \
             as `model` is the same. Nothing is stored. Guarded by the permission and the switch `ai.inference`.",
        )
        .takes::<Measurements>()
        .gives::<QualityPrediction>(200, "Predicted")
        .problems(&[400, 415])
}

async fn predict(
    Extension(inventory): Extension<Inventory>,
    Caller(_): Caller,
    Body(measured): Body<Measurements>,
) -> web::Result {
    let sample = measured.checked("")?;
    let prediction = inventory.quality().predict(&sample).await?;
    Ok(Answer::ok(&QualityPrediction { prediction, model: inventory.quality().describe() })?.into())
}
