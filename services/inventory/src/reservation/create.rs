//! Reserves units of an item. Not for taking them: see `consume`.

use std::time::Duration;

use axum::extract::State;
use kernel::{Answer, Error, Quantity, Result, Text, Timestamp};
use sea_orm::ActiveValue::Set;
use serde::Deserialize;
use service::{App, Operation, Shape};
use store::not_found;
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use super::{ActiveModel, Entity, OPEN, Reservation, held};
use crate::batch::consume::check;
use crate::batch::there::There;
use crate::item::ItemId;

/// For how long units are held unless said, and at most, in seconds.
const USUAL: i64 = 15 * 60;
const LONGEST: i64 = 7 * 24 * 3600;

/// What reserving takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateReservation {
    /// How many units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    quantity: Quantity,
    /// For how many seconds; 900 unless said.
    #[schema(minimum = 1, maximum = 604_800)]
    seconds: Option<i64>,
    /// Until when, instead of `seconds`; at most seven days ahead.
    expires_at: Option<Timestamp>,
    /// What they are held for, such as an order.
    reference: Option<Text<200>>,
}

/// Returns `POST /api/inventory/{id}/reservations`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/{id}/reservations", "inventory_create_reservation", create)
        .path::<ItemId>("id")
        .permission("inventory.reservations.write")
        .shape(Shape::Success)
        .describe(
            "Reserve units of an item",
            "Holds units until a moment, 15 minutes from now unless said: they stay in stock and are nobody else's. \
             Units in batches that expired or failed their check cannot be held. 409 `inventory.insufficient_stock` \
             when fewer are free, whatever the policy for negative stock; what expired reservations held is free. \
             Writes `inventory.reservation.created`, `inventory.item.reserved` and, where no more is available than \
             `lowStockLevel`, `inventory.item.low_stock`.",
        )
        .takes::<CreateReservation>()
        .gives::<Reservation>(201, "Held")
        .problems(&[400, 404, 409, 415])
}

async fn create(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<ItemId>,
    Body(input): Body<CreateReservation>,
) -> web::Result {
    let now = app.now();
    check(input.quantity, None, now)?;
    let expires_at = until(input.seconds, input.expires_at, now)?;
    let wanted = input.quantity.0;
    let mut writer = app.store.write(&mut ctx).await?;
    let mut there = There::locked(&writer, id).await?;
    if !there.has(&mut writer, wanted, 0).await? {
        return Err(there.insufficient(wanted).into());
    }
    held::change(&mut writer, id, wanted).await?.ok_or_else(not_found)?;
    let row = ActiveModel {
        item_id: Set(id),
        quantity: Set(input.quantity),
        state: Set(OPEN.to_owned()),
        expires_at: Set(expires_at),
        reference: Set(input.reference.map(String::from)),
        extended: Set(false),
        ended_at: Set(None),
        ..Default::default()
    };
    let row = writer.insert::<Entity>(row).await?;
    let location = format!("/api/inventory/reservations/{}", row.id);
    let answer = Answer::created(location, &Reservation::view(&row, now))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}

/// Returns the moment that is asked for.
pub(super) fn until(seconds: Option<i64>, at: Option<Timestamp>, now: Timestamp) -> Result<Timestamp> {
    let wrong =
        |field: &str, why: &str| Err(Error::invalid("request.invalid_body", "the body is not valid").field(field, why));
    match (seconds, at) {
        (Some(_), Some(_)) => wrong("expiresAt", "send either seconds or expiresAt"),
        (None, Some(at)) if at <= now || at > after(now, LONGEST) => {
            wrong("expiresAt", "must be later than now and at most seven days ahead")
        }
        (None, Some(at)) => Ok(at),
        (Some(seconds), None) if !(1..=LONGEST).contains(&seconds) => wrong("seconds", "must be from 1 to 604800"),
        (seconds, None) => Ok(after(now, seconds.unwrap_or(USUAL))),
    }
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now.plus(Duration::from_secs(seconds.unsigned_abs()))
}
