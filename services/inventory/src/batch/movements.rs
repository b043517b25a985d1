//! The movements of one batch, for a recall: who took units of it, when, and for what. Not for an item's
//! whole ledger: see the item's logs.

use axum::extract::State;
use kernel::{Answer, Cursor};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::Order;
use serde::{Deserialize, Serialize};
use service::{App, Operation, Shape};
use store::not_found;
use utoipa::ToSchema;
use web::{Caller, Path, Query};

use super::BatchId;
use crate::movement::{self, Column, Movement};

/// A page of a batch's movements.
#[derive(Debug, Serialize, ToSchema)]
struct BatchMovements {
    /// The movements, newest first.
    items: Vec<Movement>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<u64>,
    cursor: Option<String>,
}

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
        .gives::<BatchMovements>(200, "A page")
        .problems(&[400, 404])
}

const SORT: &str = "-id";

async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(batch): Path<BatchId>,
    Query(asked): Query<Asked>,
) -> web::Result {
    let limit = super::list::limit(asked.limit)?;
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let reader = app.store.read(&ctx).await?;
    reader.select_with_deleted::<super::Entity>().id(batch).one().await?.ok_or_else(not_found)?;
    let mut query = reader.select_with_deleted::<movement::Entity>().filter(Column::BatchId.eq(batch));
    if let Some(cursor) = cursor {
        query = query.filter(Column::Id.lt(cursor.id));
    }
    let mut rows = query.order_by(Column::Id, Order::Desc).limit(limit + 1).all().await?;
    reader.close().await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| Cursor::after(SORT, Default::default(), row.id.uuid()).encode());
    let page = BatchMovements { items: rows.into_iter().map(Movement::from).collect(), next };
    Ok(Answer::ok(&page)?.into())
}
