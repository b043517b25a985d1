//! Gives an endpoint a new signing secret; the old one signs beside it for a day, so that a receiver
//! can change over at leisure. Not for secrets of other services.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Result};
use serde_json::json;
use service::{App, Operation, Resource as _};
use store::not_found;
use web::{Caller, IfMatch, Path, Problem};

use crate::create::{EndpointWithSecret, shown_once};
use crate::endpoint::{self, Column, Endpoint, EndpointId};
use crate::schedule::OVERLAP;
use crate::secret::Secret;
use crate::state::Webhooks;

/// Returns `POST /api/webhooks/endpoints/{id}/rotate-secret`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/webhooks/endpoints/{id}/rotate-secret", "webhooks_rotate_secret", rotate)
        .path::<EndpointId>("id")
        .permission("webhooks.endpoints.write")
        .describe(
            "Rotate an endpoint's secret",
            "Gives a new secret, which is not shown again. For 24 hours messages carry two signatures, by the new and \
             by the old one; a secret older than that stops at once, so rotating twice drops one that leaked. Writes \
             `webhooks.endpoint.secret_rotated`.",
        )
        .gives::<EndpointWithSecret>(200, "Rotated")
        .problems(&[400, 404, 412])
}

async fn rotate(
    State(app): State<App>,
    Extension(webhooks): Extension<Webhooks>,
    Caller(mut ctx): Caller,
    Path(id): Path<EndpointId>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let (vault, tenant) = (webhooks.vault()?, ctx.tenant());
    let secret = Secret::create()?;
    let sealed = secret.seal(vault, tenant, id)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let until = writer.now().plus(OVERLAP);
    let row = writer.select::<endpoint::Entity>().id(id).lock().one().await?.ok_or_else(not_found)?;
    // Where the master key was lost, the old secret is lost too, and this is the way out of that.
    let old = match Secret::of(vault, &row) {
        Ok(old) => Some(old.seal_as_old(vault, tenant, id)?),
        Err(error) => {
            tracing::warn!(error = %error, endpoint = %id, "the old secret cannot be opened: it signs no more");
            None
        }
    };
    let until = old.is_some().then_some(until);
    let row = writer
        .change::<endpoint::Entity>(id)
        .expect_version(expected)
        .set(Column::SecretSealed, sealed)
        .set(Column::OldSecretSealed, old)
        .set(Column::OldSecretUntil, until)
        .event_data(move |_| json!({ "oldSecretUntil": until }))
        .run("secret_rotated")
        .await?;
    let version = row.version;
    let rotated = EndpointWithSecret { secret: secret.text(), endpoint: Endpoint::view(&row) };
    // The stored answer of a repeated request must not hold the secret: it is shown once.
    writer.commit(Answer::ok(&rotated.endpoint)?.version(version)).await?;
    Ok(shown_once(Answer::ok(&rotated)?.version(version)))
}
