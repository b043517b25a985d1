//! Takes units of one batch. Not for units of whichever batch expires first: see `first_expired`.

use axum::extract::State;
use kernel::{Answer, Error, Quantity, Result, Text, Timestamp};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation, Resource as _, Shape};
use store::{Writer, not_found};
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use super::there::There;
use super::{Batch, BatchId, Column, Entity, Model, create};
use crate::adjust;
use crate::item::{self, Item};
use crate::movement::{self, Movement, Reason};
use crate::stock::{self, MOST, Move};

/// Why units of a batch are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum BatchUse {
    /// They are used up.
    #[default]
    Consumed,
    /// They go out to a customer.
    Sold,
    /// They are broken, spoilt or past their date, and written off.
    Damaged,
    /// They are not there.
    Counted,
}

impl BatchUse {
    fn reason(self) -> Reason {
        match self {
            Self::Consumed => Reason::Consumed,
            Self::Sold => Reason::Sold,
            Self::Damaged => Reason::Damaged,
            Self::Counted => Reason::Counted,
        }
    }
}

/// What taking units of a batch takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConsumeBatch {
    /// How many units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    quantity: Quantity,
    /// Why; `consumed` unless said.
    #[serde(default)]
    reason: BatchUse,
    /// What somebody notes about it.
    note: Option<Text<500>>,
    /// What it belongs to elsewhere, such as an order.
    reference: Option<Text<200>>,
    /// When it happened; now unless said, and never later.
    occurred_at: Option<Timestamp>,
}

/// A batch and its item after units were taken, and the ledger line that says so.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BatchConsumption {
    /// The batch as it is now.
    batch: Batch,
    /// Its item as it is now.
    item: Item,
    /// The new line of the ledger.
    movement: Movement,
}

/// Returns `POST /api/inventory/batches/{id}/consume`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/batches/{id}/consume", "inventory_consume_batch", consume)
        .path::<BatchId>("id")
        .permission("inventory.items.adjust")
        .feature(adjust::SWITCH)
        .shape(Shape::Success)
        .describe(
            "Take units of a batch",
            "Takes units of the batch and of its item, writes a ledger line, `inventory.item.adjusted` and \
             `inventory.batch.consumed`, all or nothing. 409 when the batch has expired (`inventory.batch_expired`), \
             failed its check (`inventory.batch_failed_qc`) or has less, or others reserved the units \
             (`inventory.insufficient_stock`). With the reason `damaged` or `counted` units are written off, of such \
             batches and reserved ones too.",
        )
        .takes::<ConsumeBatch>()
        .gives::<BatchConsumption>(200, "Taken")
        .problems(&[400, 404, 409, 415])
}

async fn consume(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<BatchId>,
    Body(input): Body<ConsumeBatch>,
) -> web::Result {
    check(input.quantity, input.occurred_at, app.now())?;
    let (wanted, reason) = (input.quantity.0, input.reason.reason());
    let mut writer = app.store.write(&mut ctx).await?;
    let found = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    let mut there = There::locked(&writer, found.item_id).await?;
    // As it is now that nobody else can change it.
    let row = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    if reason.leaves_reservations() {
        refuse_unusable(&row, writer.now())?;
    }
    if row.quantity.0 < wanted {
        return Err(less(&row, wanted).into());
    }
    if reason.leaves_reservations()
        && !there.has(&mut writer, wanted, 0).await?
        && !there.allows_below_zero(&writer).await?
    {
        return Err(there.insufficient(wanted).into());
    }
    let asked = Move {
        note: input.note.map(String::from),
        reference: input.reference.map(String::from),
        occurred_at: input.occurred_at,
        ..Move::new(row.item_id, Quantity(-wanted), reason)
    };
    let (item, row, line) = take(&mut writer, id, asked).await?;
    let taken = BatchConsumption { batch: Batch::view(&row), item: Item::view(&item), movement: line.into() };
    Ok(writer.commit(Answer::ok(&taken)?.version(row.version)).await?.into())
}

/// Checks how many units are asked for, and when that was.
pub(crate) fn check(quantity: Quantity, occurred_at: Option<Timestamp>, now: Timestamp) -> Result<()> {
    if !(1..=MOST).contains(&quantity.0) {
        return Err(create::wrong("quantity", format!("must be from 1 to {MOST}")));
    }
    if occurred_at.is_some_and(|at| at > now) {
        return Err(create::wrong("occurredAt", "must not be later than now"));
    }
    Ok(())
}

fn refuse_unusable(row: &Model, now: Timestamp) -> Result<()> {
    if row.has_failed() {
        let message = "the batch failed its quality check: its units can only be written off";
        return Err(Error::conflict("inventory.batch_failed_qc", message));
    }
    match row.expires_at.filter(|_| row.is_expired(now)) {
        Some(at) => {
            let message = format!("the batch expired at {at}: its units can only be written off");
            Err(Error::conflict("inventory.batch_expired", message))
        }
        None => Ok(()),
    }
}

fn less(row: &Model, wanted: i64) -> Error {
    let message = format!("there are {} left of the batch, {wanted} would be needed", row.quantity.0);
    Error::conflict("inventory.insufficient_stock", message)
}

/// Takes units of a batch and of its item, and tells of both. The caller holds the item and has checked that
/// the batch may be used.
pub(super) async fn take(
    writer: &mut Writer<'_>,
    batch: BatchId,
    asked: Move,
) -> Result<(item::Model, Model, movement::Model)> {
    let (taken, reason, reference) = (-asked.delta.0, asked.reason.name(), asked.reference.clone());
    let (item, line) = stock::apply(writer, Move { batch: Some(batch), ..asked }).await?;
    let mut told = json!({
        "batchId": batch,
        "itemId": item.id,
        "sku": item.sku,
        "quantity": taken,
        "reason": reason,
        "movementId": line.id,
    });
    if let Some(reference) = reference {
        told["reference"] = json!(reference);
    }
    let change = writer
        .change::<Entity>(batch)
        .set_expr(Column::Quantity, Expr::col(Column::Quantity).sub(taken))
        .guard(Column::Quantity.gte(taken))
        .event_data(move |row| {
            told["code"] = json!(row.code);
            told["remaining"] = json!(row.quantity);
            told
        });
    match change.run_if("consumed").await? {
        Some(row) => Ok((item, row, line)),
        None => {
            let row = writer.select::<Entity>().id(batch).one().await?.ok_or_else(not_found)?;
            Err(less(&row, taken))
        }
    }
}
