//! Deletes a batch, softly. Not for its units: those are used up first, or written off with it.

use axum::extract::State;
use http::Method;
use kernel::{Answer, Error, Quantity};
use sea_orm::ActiveValue::Set;
use serde::Deserialize;
use service::{App, Operation, Shape};
use store::{not_found, version_mismatch};
use web::{Caller, IfMatch, Path, Query};

use super::{ActiveModel, BatchId, Entity};
use crate::item;
use crate::movement::Reason;
use crate::stock::{self, Move};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    force: bool,
}

/// Returns `DELETE /api/inventory/batches/{id}`.
pub(crate) fn operation() -> Operation {
    Operation::new(Method::DELETE, "/api/inventory/batches/{id}", "inventory_delete_batch", delete)
        .path::<BatchId>("id")
        .permission("inventory.batches.delete")
        .shape(Shape::Success)
        .query::<bool>("force", "Whether to write off what is left of it.")
        .describe(
            "Delete a batch",
            "It can be restored, and its movements stay. A batch with units left is only deleted with `force=true`, \
             else 409 `inventory.batch_in_use`: then what is left is written off with a `damaged` line of the ledger \
             first, and restoring does not bring it back. `If-Match` as with a change. Writes \
             `inventory.batch.deleted`.",
        )
        .gives_other(204, "Deleted", &[])
        .problems(&[400, 404, 409, 412])
}

async fn delete(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<BatchId>,
    IfMatch(expected): IfMatch,
    Query(asked): Query<Asked>,
) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    let found = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    // The item comes first, as everywhere; it may be deleted itself.
    writer.select_with_deleted::<item::Entity>().id(found.item_id).lock().one().await?;
    let row = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    if expected.is_some_and(|version| version != row.version) {
        return Err(version_mismatch().into());
    }
    if row.quantity.0 > 0 {
        if !asked.force {
            let message = format!("there are {} left of the batch: send force=true to write them off", row.quantity.0);
            return Err(Error::conflict("inventory.batch_in_use", message).into());
        }
        let gone = Move {
            batch: Some(id),
            note: Some("the batch was deleted".to_owned()),
            ..Move::new(row.item_id, Quantity(-row.quantity.0), Reason::Damaged)
        };
        stock::apply(&mut writer, gone).await?;
    }
    let emptied = ActiveModel { quantity: Set(Quantity(0)), ..Default::default() };
    writer.change::<Entity>(id).set_row(emptied).delete().run("deleted").await?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}
