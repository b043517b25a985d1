//! Sends a test message to an endpoint: an event that only it gets. Not for tests of this crate.

use axum::extract::State;
use kernel::{Answer, Error};
use serde::Serialize;
use serde_json::json;
use service::{App, Operation};
use store::{Event, not_found};
use utoipa::ToSchema;
use web::{Caller, Path};

use crate::endpoint::{self, EndpointId};
use crate::pattern::TESTED;

/// What was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookTest)]
struct TestAsked {
    /// The endpoint that gets it.
    endpoint_id: EndpointId,
    /// The type of the message.
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Returns `POST /api/webhooks/endpoints/{id}/test`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/webhooks/endpoints/{id}/test", "webhooks_test_endpoint", test)
        .path::<EndpointId>("id")
        .permission("webhooks.endpoints.write")
        .describe(
            "Send a test message",
            "Writes `webhooks.endpoint.tested`, which goes to this endpoint only, whatever types it chose. The log of \
             deliveries tells how it went. 409 while the endpoint is switched off.",
        )
        .gives::<TestAsked>(202, "On its way")
        .problems(&[400, 404, 409])
}

/// Nothing is sent to an endpoint that is switched off.
pub(crate) fn switched_off() -> Error {
    Error::conflict("webhooks.endpoint_disabled", "the endpoint is switched off: set `enabled` first")
}

/// Returns 202 with this body: the work is queued, and is done behind the answer.
pub(crate) fn accepted(body: &impl Serialize) -> kernel::Result<Answer> {
    Ok(Answer { status: 202, ..Answer::ok(body)? })
}

async fn test(State(app): State<App>, Caller(mut ctx): Caller, Path(id): Path<EndpointId>) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.select::<endpoint::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    if !row.enabled {
        return Err(switched_off().into());
    }
    writer.record(Event::about(TESTED, id, json!({ "message": "a test of this endpoint" }))).await?;
    let answer = accepted(&TestAsked { endpoint_id: id, kind: TESTED })?;
    Ok(writer.commit(answer).await?.into())
}
