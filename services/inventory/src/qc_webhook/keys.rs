//! Lists the keys of the webhook, and ends them. Not for making one or for its secret.

use axum::extract::State;
use http::Method;
use kernel::Answer;
use sea_orm::sea_query::Order;
use serde::Serialize;
use serde_json::json;
use service::{App, Operation, Shape};
use utoipa::ToSchema;
use web::{Caller, IfMatch, Path};

use super::create::MOST;
use super::key::{Column, Entity, QcKey, QcKeyId};

/// Where the keys are.
pub(super) const PATH: &str = "/api/inventory/qc-keys";

/// The keys.
#[derive(Debug, Serialize, ToSchema)]
struct QcKeys {
    /// The keys, the newest first, without their secrets; at most 20.
    items: Vec<QcKey>,
}

/// Returns the routes.
pub(super) fn operations() -> [Operation; 2] {
    [
        Operation::get(PATH, "inventory_list_qc_keys", list)
            .permission("inventory.qc_keys.manage")
            .shape(Shape::Success)
            .describe(
                "List the keys of the QC webhook",
                "For administrators. Gives the keys that are not revoked, without their secrets.",
            )
            .gives::<QcKeys>(200, "The keys"),
        Operation::new(Method::DELETE, "/api/inventory/qc-keys/{id}", "inventory_revoke_qc_key", revoke)
            .path::<QcKeyId>("id")
            .permission("inventory.qc_keys.manage")
            .shape(Shape::Success)
            .describe(
                "Revoke a key of the QC webhook",
                "For administrators. From the next post on nothing is taken under it, nor under its old secret; its \
                 secrets are destroyed, so this cannot be taken back. Writes `inventory.qc_key.revoked`.",
            )
            .gives_other(204, "Revoked", &[])
            .problems(&[400, 404, 412]),
    ]
}

async fn list(State(app): State<App>, Caller(ctx): Caller) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let rows = reader.select::<Entity>().order_by(Column::Id, Order::Desc).limit(MOST).all().await?;
    reader.close().await?;
    Ok(Answer::ok(&QcKeys { items: rows.iter().map(QcKey::from).collect() })?.into())
}

async fn revoke(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<QcKeyId>,
    IfMatch(expected): IfMatch,
) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    writer
        .change::<Entity>(id)
        .expect_version(expected)
        .delete()
        .set(Column::SecretSealed, Vec::<u8>::new())
        .set(Column::OldSecretSealed, None::<Vec<u8>>)
        .set(Column::OldSecretUntil, None::<i64>)
        .event_data(|row| json!({ "name": row.name }))
        .run("revoked")
        .await?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}
