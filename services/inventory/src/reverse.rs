//! Takes a movement back with the opposite one: the ledger only grows. Not for undoing a whole request,
//! which may have made several.

use axum::extract::State;
use kernel::{Answer, Error, Quantity, Result, Text};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, Condition};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation, Resource as _, Shape};
use store::{Writer, not_found};
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use crate::adjust;
use crate::batch::{self, BatchId};
use crate::item::{self, Item, ItemId};
use crate::movement::{self, Movement, MovementId, Reason};
use crate::stock::{self, Move};

/// Why a movement is taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReverseMovement {
    /// What somebody notes about it.
    note: Option<Text<500>>,
}

/// An item after a movement was taken back, and the ledger line that does it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Reversed {
    /// The item as it is now.
    item: Item,
    /// The new line of the ledger.
    movement: Movement,
}

/// Returns `POST /api/inventory/{id}/logs/{movementId}/reverse`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/{id}/logs/{movementId}/reverse", "inventory_reverse_movement", reverse)
        .path::<ItemId>("id")
        .path::<MovementId>("movementId")
        .permission("inventory.items.adjust")
        .feature(adjust::SWITCH)
        .shape(Shape::Success)
        .describe(
            "Take a movement back",
            "Writes the opposite line, with the same reason, batch, amount and reference and with `reverses`; the \
             line that was wrong stays. Item and batch follow. Once only: 409 `inventory.already_reversed`; a \
             reversal is not taken back, nor a movement of a deleted batch (`inventory.not_reversible`). 409 \
             `inventory.insufficient_stock` when the units that came in are gone.",
        )
        .takes::<ReverseMovement>()
        .gives::<Reversed>(200, "Taken back")
        .problems(&[400, 404, 409, 415])
}

async fn reverse(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path((item, id)): Path<(ItemId, MovementId)>,
    Body(input): Body<ReverseMovement>,
) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    writer.select::<item::Entity>().id(item).lock().one().await?.ok_or_else(not_found)?;
    let ledger = writer.select_with_deleted::<movement::Entity>().filter(movement::Column::ItemId.eq(item));
    let wrong = ledger.id(id).one().await?.ok_or_else(not_found)?;
    if wrong.reverses.is_some() {
        return Err(not_reversible("it takes a movement back itself: write the movement anew").into());
    }
    // The unique index says the same; this one says it before anything else is wrong.
    let taken_back = movement::Column::Reverses.eq(id);
    if writer.select_with_deleted::<movement::Entity>().filter(taken_back).one().await?.is_some() {
        return Err(Error::conflict("inventory.already_reversed", "the movement was taken back before").into());
    }
    let opposite = Quantity(-wrong.delta.0);
    let reason = Reason::named(&wrong.reason).ok_or_else(|| Error::internal("a ledger line has an unknown reason"))?;
    let asked = Move {
        note: input.note.map(String::from),
        batch: wrong.batch_id,
        amount: wrong.amount,
        reference: wrong.reference.clone(),
        reverses: Some(id),
        ..Move::new(item, opposite, reason)
    };
    let (row, line) = stock::apply(&mut writer, asked).await?;
    if let Some(batch) = wrong.batch_id {
        correct_batch(&mut writer, batch, opposite, reason).await?;
    }
    let answer = Answer::ok(&Reversed { item: Item::view(&row), movement: line.into() })?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}

fn not_reversible(message: &'static str) -> Error {
    Error::conflict("inventory.not_reversible", message)
}

/// Lets a batch follow its ledger; what never came was not received either.
async fn correct_batch(writer: &mut Writer<'_>, id: BatchId, delta: Quantity, reason: Reason) -> Result<()> {
    use batch::Column;
    let quantity = Expr::col(Column::Quantity).add(delta.0);
    let received = Expr::col(Column::ReceivedQuantity).add(if reason == Reason::Received { delta.0 } else { 0 });
    let guard = Condition::all().add(quantity.clone().gte(0)).add(received.clone().gte(0));
    let change = writer
        .change::<batch::Entity>(id)
        .set_expr(Column::Quantity, quantity)
        .set_expr(Column::ReceivedQuantity, received)
        .guard(guard)
        .event_data(move |row| {
            json!({
                "batchId": row.id,
                "itemId": row.item_id,
                "code": row.code,
                "delta": delta,
                "quantity": row.quantity,
                "reason": reason.name(),
            })
        });
    if change.run_if("adjusted").await?.is_some() {
        return Ok(());
    }
    match writer.select::<batch::Entity>().id(id).one().await? {
        None => Err(not_reversible("its batch is deleted: restore the batch first")),
        Some(row) => {
            let message = format!("there are {} left of the batch, {} would be needed", row.quantity.0, -delta.0);
            Err(Error::conflict("inventory.insufficient_stock", message))
        }
    }
}
