//! Records how a batch's quality check went. A batch that failed is in quarantine: its units stay in stock,
//! and are neither suggested nor taken until it passes. Not for who may send a verdict from outside.

use axum::extract::State;
use kernel::{Answer, Result, Text, Timestamp};
use sea_orm::ActiveValue::Set;
use serde::Deserialize;
use serde_json::json;
use service::{App, Operation, Resource as _, Shape};
use store::{Writer, not_found};
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use super::{ActiveModel, Batch, BatchId, Entity, Model};
use crate::item;

/// How a quality check went.
#[derive(Clone, Debug)]
pub(crate) struct QcVerdict {
    pub passed: bool,
    /// `A`, `B` or `C`.
    pub grade: Option<String>,
    pub note: Option<String>,
    /// When it was checked, where that is not now.
    pub inspected_at: Option<Timestamp>,
    /// Who or what says so, such as `person` or the name of a key.
    pub source: String,
}

/// The states that a batch's quality check may be in.
pub(crate) const PENDING: &str = "pending";
pub(crate) const PASSED: &str = "passed";
pub(crate) const FAILED: &str = "failed";

/// Records a verdict, in the caller's transaction, and tells of it: the last one counts.
pub(crate) async fn record_qc(writer: &mut Writer<'_>, batch: BatchId, verdict: QcVerdict) -> Result<Model> {
    let found = writer.select::<Entity>().id(batch).one().await?.ok_or_else(not_found)?;
    // The item comes first, as everywhere: whoever takes units reads the item's batches under its lock.
    let item = writer.select_with_deleted::<item::Entity>().id(found.item_id).lock().one().await?;
    let item = item.ok_or_else(not_found)?;
    let at = verdict.inspected_at.unwrap_or_else(|| writer.now());
    let (state, verb) = if verdict.passed { (PASSED, "qc_passed") } else { (FAILED, "qc_failed") };
    let told = json!({
        "batchId": batch,
        // What notices call the batch, and why it failed.
        "batch": found.code,
        "reason": verdict.note,
        "code": found.code,
        "itemId": item.id,
        "sku": item.sku,
        "name": item.name,
        "quantity": found.quantity,
        "grade": verdict.grade,
        "note": verdict.note,
        "inspectedAt": at,
        "source": verdict.source,
    });
    let checked = ActiveModel {
        qc_state: Set(state.to_owned()),
        qc_grade: Set(verdict.grade),
        qc_note: Set(verdict.note),
        qc_at: Set(Some(at)),
        ..Default::default()
    };
    writer.change::<Entity>(batch).set_row(checked).event_data(move |_| told).run(verb).await
}

/// What a quality check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum BatchVerdict {
    /// The units may be used.
    Passed,
    /// They may not.
    Failed,
}

/// A grade, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
enum BatchGrade {
    A,
    B,
    C,
}

impl BatchGrade {
    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// What a quality check found, and what somebody says of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckBatch {
    /// Whether the batch passed.
    result: BatchVerdict,
    /// The grade that it gets.
    grade: Option<BatchGrade>,
    /// What somebody notes about it.
    note: Option<Text<500>>,
}

/// Returns `POST /api/inventory/batches/{id}/qc`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/batches/{id}/qc", "inventory_check_batch", check)
        .path::<BatchId>("id")
        .permission("inventory.batches.qc")
        .shape(Shape::Success)
        .describe(
            "Record a batch's quality check",
            "Sets `qcState`, the grade and the note; the last verdict counts. The units of a batch that failed stay \
             in stock, but nobody is given them: taking them is refused until the batch passes. Writes \
             `inventory.batch.qc_passed` or `inventory.batch.qc_failed`, of which staff is notified.",
        )
        .takes::<CheckBatch>()
        .gives::<Batch>(200, "Recorded")
        .problems(&[400, 404, 415])
}

async fn check(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<BatchId>,
    Body(input): Body<CheckBatch>,
) -> web::Result {
    let verdict = QcVerdict {
        passed: input.result == BatchVerdict::Passed,
        grade: input.grade.map(BatchGrade::name),
        note: input.note.map(String::from),
        inspected_at: None,
        source: "person".to_owned(),
    };
    let mut writer = app.store.write(&mut ctx).await?;
    let row = record_qc(&mut writer, id, verdict).await?;
    let answer = Answer::ok(&Batch::view(&row))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}
