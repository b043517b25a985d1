//! Gives a key a new signing secret; the old one is taken beside it for a day, so that a laboratory
//! can change over at leisure. Not for ending a key.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Result};
use serde_json::json;
use service::{App, Operation, Shape};
use store::not_found;
use web::{Caller, IfMatch, Path, Problem};

use super::create::shown_once;
use super::key::{self, Column, QcKey, QcKeyId, WithSecret};
use super::secret::Secret;
use crate::state::Inventory;

/// For how long the secret before the present one is still taken.
const OVERLAP: Duration = Duration::from_secs(24 * 3_600);

/// Returns `POST /api/inventory/qc-keys/{id}/rotate`.
pub(super) fn operation() -> Operation {
    Operation::post("/api/inventory/qc-keys/{id}/rotate", "inventory_rotate_qc_key", rotate)
        .path::<QcKeyId>("id")
        .permission("inventory.qc_keys.manage")
        .shape(Shape::Success)
        .describe(
            "Rotate the secret of a QC key",
            "For administrators. Gives a new secret, which is not shown again. For 24 hours posts are taken that are \
             signed with the new or with the old one; a secret older than that stops at once, so rotating twice drops \
             one that leaked. Writes `inventory.qc_key.rotated`.",
        )
        .gives::<WithSecret>(200, "Rotated")
        .problems(&[400, 404, 412])
}

async fn rotate(
    State(app): State<App>,
    Extension(inventory): Extension<Inventory>,
    Caller(mut ctx): Caller,
    Path(id): Path<QcKeyId>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let (vault, tenant) = (inventory.vault()?, ctx.tenant());
    let secret = Secret::create()?;
    let sealed = secret.seal(vault, tenant, id)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.select::<key::Entity>().id(id).lock().one().await?.ok_or_else(not_found)?;
    // Where the master key was lost, the old secret is lost too, and this is the way out of that.
    let old = match Secret::of(vault, &row) {
        Ok(old) => Some(old.seal_as_old(vault, tenant, id)?),
        Err(error) => {
            tracing::warn!(error = %error, key = %id, "the old secret cannot be opened: it is taken no more");
            None
        }
    };
    let until = old.is_some().then(|| writer.now().plus(OVERLAP));
    let row = writer
        .change::<key::Entity>(id)
        .expect_version(expected)
        .set(Column::SecretSealed, sealed)
        .set(Column::OldSecretSealed, old)
        .set(Column::OldSecretUntil, until)
        .event_data(move |_| json!({ "oldSecretUntil": until }))
        .run("rotated")
        .await?;
    let version = row.version;
    let rotated = WithSecret { secret: secret.text(), key: QcKey::from(&row) };
    // The stored answer of a repeated request must not hold the secret: it is shown once.
    writer.commit(Answer::ok(&rotated.key)?.version(version)).await?;
    Ok(shown_once(Answer::ok(&rotated)?.version(version)))
}
