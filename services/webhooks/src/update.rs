//! Changes an endpoint; a new URL is judged as at creation. Not for its secret.

use axum::Extension;
use axum::extract::State;
use http::Method;
use kernel::Answer;
use service::{App, Operation, Resource as _};
use store::not_found;
use web::{Body, Caller, IfMatch, Path};

use crate::create::check_url;
use crate::endpoint::{self, Endpoint, EndpointId, UpdateEndpoint};
use crate::standing;
use crate::state::Webhooks;

/// Returns `PATCH /api/webhooks/endpoints/{id}`.
pub(crate) fn operation() -> Operation {
    Operation::new(Method::PATCH, Endpoint::SPEC.item_path, "webhooks_update_endpoint", update)
        .path::<EndpointId>("id")
        .permission("webhooks.endpoints.write")
        .describe(
            "Change an endpoint",
            "Sets the fields that are named and leaves the others. With another URL, or switched on again, its failures \
             so far are forgotten. With `If-Match`, only if that is still the current version, else 412. Writes \
             `webhooks.endpoint.updated`.",
        )
        .takes::<UpdateEndpoint>()
        .gives::<Endpoint>(200, "Changed")
        .problems(&[400, 404, 409, 412, 415])
}

async fn update(
    State(app): State<App>,
    Extension(webhooks): Extension<Webhooks>,
    Caller(mut ctx): Caller,
    Path(id): Path<EndpointId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<UpdateEndpoint>,
) -> web::Result {
    if let Some(url) = &input.url {
        check_url(&webhooks, url)?;
    }
    let (url, enabled) = (input.url.clone(), input.enabled);
    let changes = Endpoint::update(input)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let before = writer.select::<endpoint::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    // Only what may have repaired it: whoever changes a description does not send it more than before.
    if url.is_some_and(|url| url != before.url) || (enabled == Some(true) && !before.enabled) {
        // In the order in which a failure locks the two rows, so that neither waits for the other for ever.
        standing::clear(&mut writer, id).await?;
    }
    let row = writer.update::<endpoint::Entity>(id, expected, changes).await?;
    let answer = Answer::ok(&Endpoint::view(&row))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}
