//! Changes how much of an item is reserved, with the event and, where less is left for everybody, the look
//! at its level. Not for the reservations themselves.

use kernel::Result;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use serde_json::json;
use store::Writer;

use crate::item::{self, Column, ItemId};
use crate::low_stock;

/// Adds to what is reserved of an item, or takes from it, and gives the item as it is then; nothing when the
/// item is deleted or has not that much reserved. The caller holds the item and has checked that the units
/// are there.
pub(super) async fn change(writer: &mut Writer<'_>, item: ItemId, by: i64) -> Result<Option<item::Model>> {
    let reserved = Expr::col(Column::Reserved).add(by);
    let available = Expr::col(Column::Quantity).sub(reserved.clone());
    let change = writer
        .change::<item::Entity>(item)
        .set_expr(Column::Reserved, reserved.clone())
        .set_expr(Column::ShortSinceVersion, low_stock::short_since(available, by > 0))
        .guard(reserved.gte(0))
        .event_data(move |row| {
            json!({
                "sku": row.sku,
                "delta": by,
                "quantity": row.quantity,
                "reserved": row.reserved,
                "available": row.quantity.0 - row.reserved.0,
            })
        });
    let Some(row) = change.run_if("reserved").await? else { return Ok(None) };
    if let Some(event) = low_stock::event(&row) {
        writer.record(event).await?;
    }
    Ok(Some(row))
}
