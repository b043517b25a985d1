//! Sends one delivery again. Not for many: see `replay_missing`.

use axum::extract::State;
use service::{App, Operation};
use store::not_found;
use web::{Caller, Path};

use crate::delivery::{self, Delivery, DeliveryId};
use crate::endpoint;
use crate::test_event::{accepted, switched_off};

/// Returns `POST /api/webhooks/deliveries/{id}/replay`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/webhooks/deliveries/{id}/replay", "webhooks_replay_delivery", replay)
        .path::<DeliveryId>("id")
        .permission("webhooks.endpoints.write")
        .describe(
            "Send a delivery again",
            "Sends the same bytes under the same `webhook-id`, with the whole schedule before it. 409 while it is on its \
             way, or its endpoint is switched off.",
        )
        .gives::<Delivery>(202, "On its way")
        .problems(&[400, 404, 409])
}

async fn replay(State(app): State<App>, Caller(mut ctx): Caller, Path(id): Path<DeliveryId>) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.select_with_deleted::<delivery::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    let endpoint = writer.select::<endpoint::Entity>().id(row.endpoint_id).one().await?.ok_or_else(not_found)?;
    if !endpoint.enabled {
        return Err(switched_off().into());
    }
    let row = delivery::resend(&mut writer, row).await?;
    let answer = accepted(&Delivery::view(row)?)?;
    Ok(writer.commit(answer).await?.into())
}
