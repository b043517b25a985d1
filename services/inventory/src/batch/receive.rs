//! Brings units of a batch in that was announced, or came in parts. Not for a batch that nobody has entered.

use axum::extract::State;
use kernel::{Answer, Quantity, Text, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use serde::Deserialize;
use serde_json::json;
use service::{App, Operation, Resource as _, Shape};
use store::not_found;
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use super::{Batch, BatchId, Column, Entity, consume, create};
use crate::item;
use crate::movement::Reason;
use crate::stock::{self, Move};

/// What came of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReceiveBatch {
    /// How many units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    quantity: Quantity,
    /// What somebody notes about it.
    note: Option<Text<500>>,
    /// What it belongs to elsewhere, such as a delivery.
    reference: Option<Text<200>>,
    /// When they came; now unless said, and never later.
    occurred_at: Option<Timestamp>,
}

/// Returns `POST /api/inventory/batches/{id}/receive`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/batches/{id}/receive", "inventory_receive_batch", receive)
        .path::<BatchId>("id")
        .permission("inventory.batches.write")
        .shape(Shape::Success)
        .describe(
            "Receive units of a batch",
            "For a batch that was announced, or comes in parts: moves units in with a `received` line worth `unitCost` \
             times `quantity`. The first ones set `receivedAt`. Writes `inventory.item.adjusted` and \
             `inventory.batch.received`, all or nothing.",
        )
        .takes::<ReceiveBatch>()
        .gives::<Batch>(200, "Received")
        .problems(&[400, 404, 409, 415])
}

async fn receive(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<BatchId>,
    Body(input): Body<ReceiveBatch>,
) -> web::Result {
    consume::check(input.quantity, input.occurred_at, app.now())?;
    let came = input.quantity;
    let mut writer = app.store.write(&mut ctx).await?;
    let found = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    writer.select::<item::Entity>().id(found.item_id).lock().one().await?.ok_or_else(not_found)?;
    let row = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    let asked = Move {
        batch: Some(id),
        amount: create::worth(row.unit_cost, came)?,
        note: input.note.map(String::from),
        reference: input.reference.map(String::from),
        occurred_at: input.occurred_at,
        ..Move::new(row.item_id, came, Reason::Received)
    };
    let (item, line) = stock::apply(&mut writer, asked).await?;
    let came_at = input.occurred_at.unwrap_or_else(|| writer.now());
    let sku = item.sku;
    let mut change = writer
        .change::<Entity>(id)
        .set_expr(Column::Quantity, Expr::col(Column::Quantity).add(came.0))
        .set_expr(Column::ReceivedQuantity, Expr::col(Column::ReceivedQuantity).add(came.0))
        .event_data(move |row| {
            json!({
                "batchId": row.id,
                "itemId": row.item_id,
                "sku": sku,
                "code": row.code,
                "delta": came,
                "quantity": row.quantity,
                "movementId": line.id,
            })
        });
    if row.received_quantity.0 == 0 {
        change = change.set(Column::ReceivedAt, came_at);
    }
    let row = change.run("received").await?;
    let answer = Answer::ok(&Batch::view(&row))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}
