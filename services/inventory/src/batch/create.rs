//! Enters a batch and moves its units in. Not for units that are in no batch: an adjustment does that.

use axum::extract::State;
use kernel::{Answer, Error, Money, Quantity, Result, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _};
use service::{App, Operation, Resource as _, Shape};
use store::{Writer, not_found};
use web::{Body, Caller};

use super::{ActiveModel, Batch, CreateBatch, Entity};
use crate::item;
use crate::movement::Reason;
use crate::stock::{self, MOST, Move};

/// The most that one unit may cost.
const DEAREST: i64 = 1_000_000_000_000;

/// Returns `POST /api/inventory/batches`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/batches", "inventory_create_batch", create)
        .permission("inventory.batches.write")
        .shape(Shape::Success)
        .describe(
            "Enter a batch",
            "Makes the batch and, with a `quantity` above 0, moves its units in: a `received` line of the ledger worth \
             `unitCost` times `quantity`. Gives it with its ETag and writes `inventory.batch.created` and \
             `inventory.item.adjusted`, all or nothing. A code that the item's live batches have already is 409.",
        )
        .takes::<CreateBatch>()
        .gives::<Batch>(201, "Entered")
        .problems(&[400, 404, 409, 415])
}

pub(super) fn wrong(field: &str, why: impl Into<String>) -> Error {
    Error::invalid("request.invalid_body", "the body is not valid").field(field, why)
}

/// Checks what one unit costs.
pub(super) fn cost(cost: Option<Money>) -> Result<Option<Money>> {
    match cost {
        Some(cost) if !(0..=DEAREST).contains(&cost.0) => {
            Err(wrong("unitCost", format!("must be from 0 to {DEAREST}")))
        }
        cost => Ok(cost),
    }
}

async fn create(State(app): State<App>, Caller(mut ctx): Caller, Body(input): Body<CreateBatch>) -> web::Result {
    let amount = input.check(app.now())?;
    let mut writer = app.store.write(&mut ctx).await?;
    let item = item_of(&writer, &input).await?;
    let (quantity, note) = (input.quantity, input.note.clone().map(String::from));
    let came_at = input.received_at;
    let row = ActiveModel {
        item_id: Set(item.id),
        received_at: Set(came_at.unwrap_or_else(|| writer.now())),
        ..Batch::create(input)?
    };
    let row = writer.insert::<Entity>(row).await?;
    if quantity.0 > 0 {
        let came = Move {
            batch: Some(row.id),
            amount,
            note,
            occurred_at: came_at,
            ..Move::new(item.id, quantity, Reason::Received)
        };
        stock::apply(&mut writer, came).await?;
    }
    let location = Batch::SPEC.item_path.replace("{id}", &row.id.to_string());
    let answer = Answer::created(location, &Batch::view(&row))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}

impl CreateBatch {
    /// Says what is wrong with it, or what all of it is worth.
    fn check(&self, now: Timestamp) -> Result<Option<Money>> {
        if self.item_id.is_some() == self.sku.is_some() {
            return Err(wrong("itemId", "send either itemId or sku"));
        }
        if !(0..=MOST).contains(&self.quantity.0) {
            return Err(wrong("quantity", format!("must be from 0 to {MOST}")));
        }
        if self.received_at.is_some_and(|at| at > now) {
            return Err(wrong("receivedAt", "must not be later than now"));
        }
        if self.expires_at.is_some_and(|at| at <= self.received_at.unwrap_or(now)) {
            return Err(wrong("expiresAt", "must be later than receivedAt"));
        }
        worth(cost(self.unit_cost)?, self.quantity)
    }
}

/// Returns what so many units are worth together.
pub(super) fn worth(cost: Option<Money>, quantity: Quantity) -> Result<Option<Money>> {
    let Some(cost) = cost else { return Ok(None) };
    match cost.0.checked_mul(quantity.0) {
        Some(worth) if worth <= MOST => Ok(Some(Money(worth))),
        _ => Err(wrong("unitCost", format!("times quantity must be at most {MOST}"))),
    }
}

/// Finds the item that is meant, and holds it.
async fn item_of(writer: &Writer<'_>, input: &CreateBatch) -> Result<item::Model> {
    let items = writer.select::<item::Entity>();
    let found = match (&input.item_id, &input.sku) {
        (Some(id), _) => items.id(*id),
        (None, Some(sku)) => items.filter(item::Column::Sku.eq(sku.as_str())),
        (None, None) => return Err(not_found()),
    };
    found.lock().one().await?.ok_or_else(not_found)
}
