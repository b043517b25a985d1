//! Creates an endpoint and shows its secret, once. Not for the other standard verbs.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use kernel::{Answer, Error, Result};
use sea_orm::ActiveValue::Set;
use serde::Serialize;
use service::{App, Operation, Resource as _};
use utoipa::ToSchema;
use web::{Body, Caller, Problem, Reply};

use crate::endpoint::{self, CreateEndpoint, Endpoint, EndpointId};
use crate::secret::Secret;
use crate::standing;
use crate::state::Webhooks;

/// An endpoint with its new secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpointWithSecret)]
pub(crate) struct EndpointWithSecret {
    /// The signing secret, as the Standard Webhooks libraries take it; it is shown only now, and not in the
    /// stored answer of a request that is sent again.
    #[schema(required = false)]
    pub secret: String,
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Endpoint,
}

/// Returns `POST /api/webhooks/endpoints`.
pub(crate) fn operation() -> Operation {
    Operation::post(Endpoint::SPEC.path, "webhooks_create_endpoint", create)
        .permission("webhooks.endpoints.write")
        .describe(
            "Create an endpoint",
            "Gives the new endpoint with its signing secret, which is not shown again, and writes \
             `webhooks.endpoint.created`. It gets what happens from now on.",
        )
        .takes::<CreateEndpoint>()
        .gives::<EndpointWithSecret>(201, "Created")
        .problems(&[400, 409, 415])
}

/// Refuses a URL that could not be called.
pub(crate) fn check_url(webhooks: &Webhooks, url: &str) -> Result<()> {
    let wrong =
        |why| Error::invalid("webhooks.url_refused", format!("the URL cannot be used: it {why}")).field("url", why);
    webhooks.guard().target(url).map(|_| ()).map_err(wrong)
}

/// Returns an answer that no cache keeps, for what is shown once.
pub(crate) fn shown_once(answer: Answer) -> Response {
    let mut response = Reply(answer).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn create(
    State(app): State<App>,
    Extension(webhooks): Extension<Webhooks>,
    Caller(mut ctx): Caller,
    Body(input): Body<CreateEndpoint>,
) -> Result<Response, Problem> {
    check_url(&webhooks, &input.url)?;
    let (id, secret) = (EndpointId::new(), Secret::create()?);
    let mut row = Endpoint::create(input)?;
    row.id = Set(id);
    row.secret_sealed = Set(secret.seal(webhooks.vault()?, ctx.tenant(), id)?);
    let most = webhooks.settings().endpoints_per_tenant;
    let mut writer = app.store.write(&mut ctx).await?;
    writer.alone("webhooks.endpoints").await?;
    if writer.select::<endpoint::Entity>().limit(most).all().await?.len() as u64 >= most {
        let message = format!("there are {most} endpoints: delete those that are not needed");
        return Err(Error::conflict("webhooks.too_many_endpoints", message).into());
    }
    let row = writer.insert::<endpoint::Entity>(row).await?;
    standing::begin(&mut writer, id).await?;
    let location = Endpoint::SPEC.item_path.replace("{id}", &id.to_string());
    let version = row.version;
    let created = EndpointWithSecret { secret: secret.text(), endpoint: Endpoint::view(&row) };
    // The stored answer of a repeated request must not hold the secret: it is shown once.
    writer.commit(Answer::created(location.clone(), &created.endpoint)?.version(version)).await?;
    Ok(shown_once(Answer::created(location, &created)?.version(version)))
}
