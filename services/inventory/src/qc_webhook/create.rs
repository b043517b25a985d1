//! Makes a key and shows its secret, once. Not for the other things that are done with keys.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use kernel::{Answer, Error, Result, Text};
use sea_orm::ActiveValue::Set;
use serde::Deserialize;
use service::{App, Operation, Shape};
use utoipa::ToSchema;
use web::{Body, Caller, Problem, Reply};

use super::key::{self, QcKey, QcKeyId, WithSecret};
use super::keys::PATH;
use super::secret::Secret;
use crate::state::Inventory;

/// How many keys a tenant may have.
pub(super) const MOST: u64 = 20;

/// What making a key takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateQcKey {
    /// Who or what posts under it, such as `Camera line 2`.
    name: Text<100>,
}

/// Returns `POST /api/inventory/qc-keys`.
pub(super) fn operation() -> Operation {
    Operation::post(PATH, "inventory_create_qc_key", create)
        .permission("inventory.qc_keys.manage")
        .shape(Shape::Success)
        .describe(
            "Make a key for the QC webhook",
            "For administrators. Gives the key with its signing secret, which is not shown again: the laboratory or \
             camera line signs with it what it posts to `/api/webhooks/qc`. Writes `inventory.qc_key.created`. At most 20 \
             keys.",
        )
        .takes::<CreateQcKey>()
        .gives::<WithSecret>(201, "Made")
        .problems(&[400, 409, 415])
}

/// Returns an answer that no cache keeps, for what is shown once.
pub(super) fn shown_once(answer: Answer) -> Response {
    let mut response = Reply(answer).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn create(
    State(app): State<App>,
    Extension(inventory): Extension<Inventory>,
    Caller(mut ctx): Caller,
    Body(input): Body<CreateQcKey>,
) -> Result<Response, Problem> {
    let (id, secret) = (QcKeyId::new(), Secret::create()?);
    let row = key::ActiveModel {
        id: Set(id),
        name: Set(input.name.into()),
        secret_sealed: Set(secret.seal(inventory.vault()?, ctx.tenant(), id)?),
        old_secret_sealed: Set(None),
        old_secret_until: Set(None),
        ..Default::default()
    };
    let mut writer = app.store.write(&mut ctx).await?;
    writer.alone("inventory.qc_keys").await?;
    if writer.select::<key::Entity>().limit(MOST).all().await?.len() as u64 >= MOST {
        let message = format!("there are {MOST} keys: revoke those that are not needed");
        return Err(Error::conflict("inventory.too_many_qc_keys", message).into());
    }
    let row = writer.insert::<key::Entity>(row).await?;
    let (location, version) = (format!("{PATH}/{id}"), row.version);
    let made = WithSecret { secret: secret.text(), key: QcKey::from(&row) };
    // The stored answer of a repeated request must not hold the secret: it is shown once.
    writer.commit(Answer::created(location.clone(), &made.key)?.version(version)).await?;
    Ok(shown_once(Answer::created(location, &made)?.version(version)))
}
