//! Gives back what a reservation holds. Not for one whose time is up: nobody has to do that.

use axum::extract::State;
use kernel::{Answer, Result};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, Condition};
use service::{App, Operation, Shape};
use store::{Writer, not_found};
use web::{Caller, Path};

use super::{ActiveModel, Column, Entity, Model, OPEN, RELEASED, Reservation, ReservationId, ended, held};
use crate::item;

/// Returns `POST /api/inventory/reservations/{id}/release`.
pub(super) fn operation() -> Operation {
    Operation::post("/api/inventory/reservations/{id}/release", "inventory_release_reservation", release)
        .path::<ReservationId>("id")
        .permission("inventory.reservations.write")
        .shape(Shape::Success)
        .describe(
            "Release a reservation",
            "Gives back the units that it holds. 409 `inventory.reservation_ended` when it holds nothing any more. \
             Writes `inventory.reservation.released` and `inventory.item.reserved`.",
        )
        .gives::<Reservation>(200, "Released")
        .problems(&[400, 404, 409])
}

async fn release(State(app): State<App>, Caller(mut ctx): Caller, Path(id): Path<ReservationId>) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    let row = end(&mut writer, id, RELEASED).await?;
    held::change(&mut writer, row.item_id, -row.quantity.0).await?.ok_or_else(not_found)?;
    let answer = Answer::ok(&Reservation::view(&row, writer.now()))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}

/// Ends an open reservation and holds its item, which comes first; what it held is the caller's to give back.
pub(super) async fn end(writer: &mut Writer<'_>, id: ReservationId, state: &'static str) -> Result<Model> {
    let now = writer.now();
    let found = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    writer.select::<item::Entity>().id(found.item_id).lock().one().await?.ok_or_else(not_found)?;
    let over = ActiveModel { state: Set(state.to_owned()), ended_at: Set(Some(now)), ..Default::default() };
    let still = Condition::all().add(Column::State.eq(OPEN)).add(Column::ExpiresAt.gt(now));
    match writer.change::<Entity>(id).set_row(over).guard(still).run_if(state).await? {
        Some(row) => Ok(row),
        None => {
            let found = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
            Err(ended(&found, now))
        }
    }
}
