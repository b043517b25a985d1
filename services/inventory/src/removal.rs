//! Deletes an item, softly. Not for its stock: that has to be somewhere first.

use axum::extract::State;
use http::Method;
use kernel::{Answer, Error};
use sea_orm::{ColumnTrait as _, Condition};
use serde::Deserialize;
use service::{App, Operation, Shape};
use store::{not_found, version_mismatch};
use web::{Caller, IfMatch, Path, Query};

use crate::item::{self, Column, ItemId};
use crate::reservation;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    force: bool,
}

/// Returns `DELETE /api/inventory/{id}`.
pub(crate) fn operation() -> Operation {
    Operation::new(Method::DELETE, "/api/inventory/{id}", "inventory_delete_item", delete)
        .path::<ItemId>("id")
        .permission("inventory.items.delete")
        .shape(Shape::Success)
        .query::<bool>("force", "Whether to delete it although there is stock of it.")
        .describe(
            "Delete an item",
            "It can be restored, and nothing of its ledger goes away. An item of which there is stock, or which \
             somebody has reserved, is only deleted with `force=true`, else 409 `inventory.item_in_use`. `If-Match` as \
             with a change. Writes `inventory.item.deleted`.",
        )
        .gives_other(204, "Deleted", &[])
        .problems(&[400, 404, 409, 412])
}

async fn delete(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<ItemId>,
    IfMatch(expected): IfMatch,
    Query(asked): Query<Asked>,
) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    let mut item = writer.select::<item::Entity>().id(id).lock().one().await?.ok_or_else(not_found)?;
    if expected.is_some_and(|version| version != item.version) {
        return Err(version_mismatch().into());
    }
    let ended = match asked.force {
        true => reservation::release_open(&mut writer, id).await?,
        false => reservation::release_expired(&mut writer, id).await?,
    };
    if ended {
        item = writer.select::<item::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    }
    let mut change = writer.change::<item::Entity>(id).delete();
    if !asked.force {
        change = change.guard(Condition::all().add(Column::Quantity.eq(0)).add(Column::Reserved.eq(0)));
    }
    if change.run_if("deleted").await?.is_none() {
        let (there, reserved, unit) = (item.quantity.0, item.reserved.0, &item.unit);
        let message =
            format!("there are {there} {unit} in stock, {reserved} of them reserved: send force=true if you mean it");
        return Err(Error::conflict("inventory.item_in_use", message).into());
    }
    Ok(writer.commit(Answer::no_content()).await?.into())
}
