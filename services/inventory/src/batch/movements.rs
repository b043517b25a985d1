//! The movements of one batch, for a recall: who took units of it, when, and for what. Not for an item's
//! whole ledger: see the item's logs.

use axum::extract::State;
use kernel::Answer;
use sea_orm::ColumnTrait as _;
use service::{App, Operation, Shape};
use store::not_found;
use web::{Caller, Path, Query};

use super::BatchId;
use crate::movement::{self, Asked, Column, MovementPage};

/// Returns `GET /api/inventory/batches/{id}/movements`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/inventory/batches/{id}/movements", "inventory_list_batch_movements", list)
        .path::<BatchId>("id")
        .permission("inventory.movements.read")
        .shape(Shape::Success)
        .paged()
        .describe(
            "List a batch's movements",
            "Everything that came into the batch and went out of it, newest first, with who wrote it and what it \
             belongs to (`reference`): what a recall asks for. Of a deleted batch too.",
        )
        .gives::<MovementPage>(200, "A page")
        .problems(&[400, 404])
}

async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(batch): Path<BatchId>,
    Query(asked): Query<Asked>,
) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    reader.select_with_deleted::<super::Entity>().id(batch).one().await?.ok_or_else(not_found)?;
    let page = movement::page(&reader, Column::BatchId.eq(batch), asked).await?;
    reader.close().await?;
    Ok(Answer::ok(&page)?.into())
}
