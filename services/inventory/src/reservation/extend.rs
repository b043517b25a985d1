//! Gives a reservation more time, once. Not for one whose time is up.

use axum::extract::State;
use kernel::{Answer, Error, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, Condition};
use serde::Deserialize;
use service::{App, Operation, Shape};
use store::not_found;
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use super::create::until;
use super::{ActiveModel, Column, Entity, OPEN, Reservation, ReservationId, ended};

/// Until when to hold the units now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExtendReservation {
    /// For how many seconds from now; 900 unless said.
    #[schema(minimum = 1, maximum = 604_800)]
    seconds: Option<i64>,
    /// Until when, instead of `seconds`; at most seven days ahead.
    expires_at: Option<Timestamp>,
}

/// Returns `POST /api/inventory/reservations/{id}/extend`.
pub(super) fn operation() -> Operation {
    Operation::post("/api/inventory/reservations/{id}/extend", "inventory_extend_reservation", extend)
        .path::<ReservationId>("id")
        .permission("inventory.reservations.write")
        .shape(Shape::Success)
        .describe(
            "Extend a reservation",
            "Holds the units until a later moment; once only, else 409 `inventory.reservation_extended`. Writes \
             `inventory.reservation.extended`.",
        )
        .takes::<ExtendReservation>()
        .gives::<Reservation>(200, "Extended")
        .problems(&[400, 404, 409, 415])
}

async fn extend(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<ReservationId>,
    Body(input): Body<ExtendReservation>,
) -> web::Result {
    let expires_at = until(input.seconds, input.expires_at, app.now())?;
    let mut writer = app.store.write(&mut ctx).await?;
    let now = writer.now();
    let later = ActiveModel { expires_at: Set(expires_at), extended: Set(true), ..Default::default() };
    let still = Condition::all()
        .add(Column::State.eq(OPEN))
        .add(Column::ExpiresAt.gt(now))
        .add(Column::ExpiresAt.lt(expires_at))
        .add(Column::Extended.eq(false));
    let Some(row) = writer.change::<Entity>(id).set_row(later).guard(still).run_if("extended").await? else {
        let found = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
        return Err(match () {
            () if found.state != OPEN || found.expires_at <= now => ended(&found, now),
            () if found.extended => {
                let message = "the reservation was extended before: make a new one";
                Error::conflict("inventory.reservation_extended", message)
            }
            () => Error::invalid("request.invalid_body", "the body is not valid")
                .field("expiresAt", format!("must be later than {}, until when they are held", found.expires_at)),
        }
        .into());
    };
    let answer = Answer::ok(&Reservation::view(&row, now))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}
