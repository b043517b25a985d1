//! What a laboratory posts: which batch, and either its own verdict or what it measured. Not for
//! whether to believe it.

use std::time::Duration;

use kernel::{Error, FieldError, Result, Text, Timestamp};
use sea_orm::ColumnTrait as _;
use serde::Deserialize;
use store::{Writer, not_found};
use utoipa::ToSchema;

use crate::batch::{self, BatchId};
use crate::item;
use crate::quality::{Grade, Input, Measurements, Sample};

/// How far ahead of ours a laboratory's clock may be.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The result of a batch's quality check: a verdict, or measurements that the quality model grades.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = QcResult)]
pub(super) struct Posted {
    /// The batch; or else `batchCode`.
    batch_id: Option<BatchId>,
    /// The supplier's number of the batch.
    batch_code: Option<Text<64>>,
    /// The item's SKU; needed with `batchCode` where several items have a batch of that code.
    item_sku: Option<Text<64>>,
    /// The laboratory's verdict; or else `measurements`.
    result: Option<Verdict>,
    /// The grade that the laboratory gives, beside its `result`.
    grade: Option<Grade>,
    /// What was measured, all four; the quality model grades it.
    measurements: Option<Measurements>,
    /// The worst grade with which `measurements` pass; `B` unless said.
    minimum_grade: Option<Grade>,
    /// What the laboratory notes about it.
    pub note: Option<Text<500>>,
    /// When it was checked; when it arrives, unless said.
    pub inspected_at: Option<Timestamp>,
}

/// A laboratory's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = QcVerdict)]
pub(super) enum Verdict {
    /// The units may be used.
    Passed,
    /// They may not.
    Failed,
}

/// What a verdict stands on.
pub(super) enum Ground {
    /// The laboratory says so.
    Said { passed: bool, grade: Option<Grade> },
    /// The model is to say, and at least this grade passes.
    Measured { sample: Sample, minimum: Grade },
}

/// Which batch is meant.
pub(super) enum Named<'a> {
    /// The one with this id.
    Id(BatchId),
    /// The one with this code, of the item with this SKU if there are several.
    Code(&'a str, Option<&'a str>),
}

fn wrong(fields: Vec<FieldError>) -> Error {
    let invalid = Error::invalid("request.invalid_body", "the body is not valid");
    fields.into_iter().fold(invalid, |error, wrong| error.field(wrong.field, wrong.message))
}

fn field(name: &str, message: &str) -> Error {
    wrong(vec![FieldError { field: name.to_owned(), message: message.to_owned() }])
}

impl Posted {
    /// Refuses a check that has not happened yet.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<()> {
        match self.inspected_at {
            Some(at) if at > now.plus(AHEAD) => Err(field("inspectedAt", "must not be in the future")),
            _ => Ok(()),
        }
    }

    /// Returns which batch is meant.
    pub(super) fn named(&self) -> Result<Named<'_>> {
        match (self.batch_id, &self.batch_code, &self.item_sku) {
            (Some(id), None, None) => Ok(Named::Id(id)),
            (None, Some(code), sku) => Ok(Named::Code(code.as_str(), sku.as_ref().map(Text::as_str))),
            (Some(_), Some(_), _) => Err(field("batchCode", "goes without batchId")),
            (_, None, Some(_)) => Err(field("itemSku", "goes with batchCode only")),
            (None, None, None) => Err(field("batchId", "say batchId or batchCode")),
        }
    }

    /// Returns what the verdict stands on.
    pub(super) fn ground(&self) -> Result<Ground> {
        match (self.result, &self.measurements) {
            (Some(_), Some(_)) => Err(field("measurements", "goes without result")),
            (None, None) => Err(field("result", "say result or measurements")),
            (Some(_), None) if self.minimum_grade.is_some() => {
                Err(field("minimumGrade", "goes with measurements only"))
            }
            (Some(result), None) => Ok(Ground::Said { passed: result == Verdict::Passed, grade: self.grade }),
            (None, Some(_)) if self.grade.is_some() => Err(field("grade", "goes with result only")),
            (None, Some(measured)) => {
                let sample = measured.checked("measurements.")?;
                // A prediction may be made from less; goods are not let through on less.
                let missing: Vec<Input> = measured.missing().collect();
                if !missing.is_empty() {
                    let message = "is needed for a verdict".to_owned();
                    let named = |input: Input| format!("measurements.{}", input.name());
                    let fields =
                        missing.into_iter().map(|input| FieldError { field: named(input), message: message.clone() });
                    return Err(wrong(fields.collect()));
                }
                Ok(Ground::Measured { sample, minimum: self.minimum_grade.unwrap_or(Grade::B) })
            }
        }
    }
}

impl Named<'_> {
    /// Finds the batch.
    pub(super) async fn find(&self, writer: &Writer<'_>) -> Result<BatchId> {
        let (code, sku) = match self {
            Self::Id(id) => return Ok(*id),
            Self::Code(code, sku) => (code, sku),
        };
        let mut batches = writer.select::<batch::Entity>().filter(batch::Column::Code.eq(*code));
        if let Some(sku) = sku {
            let item = writer.select::<item::Entity>().filter(item::Column::Sku.eq(*sku)).one().await?;
            batches = batches.filter(batch::Column::ItemId.eq(item.ok_or_else(not_found)?.id));
        }
        match batches.limit(2).all().await?.as_slice() {
            [] => Err(not_found()),
            [batch] => Ok(batch.id),
            _ => {
                let message = "several items have a batch with this code: send itemSku too, or batchId";
                Err(Error::conflict("inventory.batch_ambiguous", message))
            }
        }
    }
}
