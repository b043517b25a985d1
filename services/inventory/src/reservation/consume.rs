//! Takes the units that a reservation holds. Not for units that nobody reserved.

use axum::extract::State;
use kernel::{Answer, Quantity, Text, Timestamp};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Resource as _, Shape};
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use super::{CONSUMED, Reservation, ReservationId, release};
use crate::adjust;
use crate::batch::consume::check;
use crate::batch::first_expired::{self, ItemUse};
use crate::item::Item;
use crate::movement::Movement;
use crate::stock::Move;

/// What taking reserved units takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConsumeReservation {
    /// How many of the units; all unless said. What is not taken is released.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    quantity: Option<Quantity>,
    /// Why; `sold` unless said.
    reason: Option<ItemUse>,
    /// What somebody notes about it.
    note: Option<Text<500>>,
    /// What it belongs to elsewhere; the reservation's own unless said.
    reference: Option<Text<200>>,
    /// When it happened; now unless said, and never later.
    occurred_at: Option<Timestamp>,
}

/// A reservation and its item after the units were taken, and the ledger lines that say of which batches.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReservationConsumption {
    /// The reservation, which is over.
    reservation: Reservation,
    /// The item as it is now.
    item: Item,
    /// The new lines of the ledger.
    movements: Vec<Movement>,
}

/// Returns `POST /api/inventory/reservations/{id}/consume`.
pub(super) fn operation() -> Operation {
    Operation::post("/api/inventory/reservations/{id}/consume", "inventory_consume_reservation", consume)
        .path::<ReservationId>("id")
        .permission("inventory.reservations.write")
        .feature(adjust::SWITCH)
        .shape(Shape::Success)
        .describe(
            "Take what a reservation holds",
            "Takes the units, first expired, first out, and ends the reservation, all or nothing; what is not taken is \
             released. 409 `inventory.reservation_ended` when it holds nothing any more, \
             `inventory.insufficient_stock` when the units have expired, failed their check or been written off since. \
             Writes `inventory.reservation.consumed`, `inventory.item.adjusted` and `inventory.batch.consumed`.",
        )
        .takes::<ConsumeReservation>()
        .gives::<ReservationConsumption>(200, "Taken")
        .problems(&[400, 404, 409, 415])
}

async fn consume(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<ReservationId>,
    Body(input): Body<ConsumeReservation>,
) -> web::Result {
    check(input.quantity.unwrap_or(Quantity(1)), input.occurred_at, app.now())?;
    let mut writer = app.store.write(&mut ctx).await?;
    let row = release::end(&mut writer, id, CONSUMED).await?;
    let taken = input.quantity.unwrap_or(row.quantity);
    if taken > row.quantity {
        return Err(kernel::Error::invalid("request.invalid_body", "the body is not valid")
            .field("quantity", format!("must be at most {}, which are held", row.quantity.0))
            .into());
    }
    let asked = Move {
        note: input.note.map(String::from),
        reference: input.reference.map(String::from).or_else(|| row.reference.clone()),
        occurred_at: input.occurred_at,
        unreserve: row.quantity,
        ..Move::new(row.item_id, Quantity(-taken.0), input.reason.unwrap_or(ItemUse::Sold).reason())
    };
    let (item, lines) = first_expired::take(&mut writer, asked).await?;
    let answer = Answer::ok(&ReservationConsumption {
        reservation: Reservation::view(&row, writer.now()),
        item: Item::view(&item),
        movements: lines.into_iter().map(Movement::from).collect(),
    })?;
    Ok(writer.commit(answer.version(row.version)).await?.into())
}
