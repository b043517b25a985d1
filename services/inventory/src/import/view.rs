//! Shows how an import is doing. Not for its rows: see `errors`.

use axum::extract::State;
use kernel::{Answer, Timestamp};
use serde::Serialize;
use service::{App, Operation, Shape};
use store::not_found;
use tasks::TaskId;
use utoipa::ToSchema;
use web::{Caller, Path};

use super::record::{Entity, ImportId, Model};
use super::{FileFormat, Kind, OnExisting, Stock};

/// An import, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Import {
    /// Names the import.
    id: ImportId,
    /// The task that works on it.
    task_id: TaskId,
    /// What the rows are.
    kind: Kind,
    /// How the file is written.
    format: FileFormat,
    /// Whether it only says what it would do.
    dry_run: bool,
    /// What becomes of the quantities of items.
    stock: Stock,
    /// What becomes of rows whose SKU is there.
    on_existing: OnExisting,
    /// How long the file is.
    bytes: i64,
    /// How many rows were read.
    rows: i64,
    /// How many of them changed something, or would.
    applied: i64,
    /// How many of them had nothing to change.
    unchanged: i64,
    /// How many of them were wrong and left out.
    failed: i64,
    /// Whether the file was read to its end.
    complete: bool,
    /// When it was sent.
    created_at: Timestamp,
    /// Who sent it.
    created_by: String,
    /// When the work was over; null until then.
    finished_at: Option<Timestamp>,
}

/// Returns `GET /api/inventory/imports/{id}`.
pub(super) fn operation() -> Operation {
    Operation::get("/api/inventory/imports/{id}", "inventory_get_import", get)
        .path::<ImportId>("id")
        .permission("inventory.items.import")
        .shape(Shape::Success)
        .describe(
            "Get an import",
            "Gives what was asked for and how far it is. `GET /api/tasks/{taskId}` shows its progress in bytes and \
             whether it was cancelled; `/errors` lists the rows that were left out.",
        )
        .gives::<Import>(200, "Found")
        .problems(&[400, 404])
}

async fn get(State(app): State<App>, Caller(ctx): Caller, Path(id): Path<ImportId>) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let row = reader.select_with_deleted::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    reader.close().await?;
    Ok(Answer::ok(&show(row))?.into())
}

fn show(row: Model) -> Import {
    let (options, format) = (row.options(), row.format());
    Import {
        id: row.id,
        task_id: row.task_id,
        kind: options.kind,
        format,
        dry_run: options.dry_run,
        stock: options.stock,
        on_existing: options.on_existing,
        bytes: row.bytes,
        rows: row.read,
        applied: row.applied,
        unchanged: row.unchanged,
        failed: row.failed,
        complete: row.complete,
        created_at: row.created_at,
        created_by: row.created_by,
        finished_at: row.finished_at,
    }
}
