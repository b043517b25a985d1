//! Changes the stock of an item: the item, the ledger line and the event in one transaction. Not
//! for transfers between places.

use axum::extract::State;
use kernel::{Answer, Error, Quantity, Text};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, Condition};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation, Resource as _, Shape};
use store::not_found;
use utoipa::ToSchema;
use web::{Body, Caller, IfMatch, Path};

use crate::item::{self, Item, ItemId};
use crate::low_stock;
use crate::movement::{self, Movement, Reason};

/// Far below what 64 bits hold, so that a sum cannot overflow.
const MOST: i64 = 1_000_000_000_000_000;

/// What an adjustment takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdjustItem {
    /// By how many units; negative is out.
    #[schema(minimum = -1_000_000_000_000_000_i64, maximum = 1_000_000_000_000_000_i64)]
    delta: Quantity,
    /// Why.
    reason: Reason,
    /// What somebody notes about it.
    note: Option<Text<500>>,
}

/// An item after its stock was changed, and the ledger line that says so.
#[derive(Debug, Serialize, ToSchema)]
struct Adjusted {
    /// The item as it is now.
    item: Item,
    /// The new line of the ledger.
    movement: Movement,
}

/// Returns `POST /api/inventory/{id}/adjust`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/{id}/adjust", "inventory_adjust_item", adjust)
        .permission("inventory.items.adjust")
        .shape(Shape::Success)
        .describe(
            "Change an item's stock",
            "Adds `delta` to the stock, writes a ledger line and `inventory.item.adjusted`, all or nothing. A removal \
             that leaves the item at or below its `lowStockLevel` writes `inventory.item.low_stock` too, once until \
             the stock has been above the level by a tenth of it, at least 1. Stock never falls below zero: 409 `inventory.insufficient_stock` says what there is. Concurrent adjustments add up; \
             `If-Match` is only needed when the delta was computed from a quantity that was read.",
        )
        .takes::<AdjustItem>()
        .gives::<Adjusted>(200, "Changed")
        .problems(&[400, 404, 409, 412, 415])
}

async fn adjust(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<ItemId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<AdjustItem>,
) -> web::Result {
    let (delta, reason) = (input.delta, input.reason.name());
    if delta.0 == 0 || !(-MOST..=MOST).contains(&delta.0) {
        return Err(Error::invalid("request.invalid_body", "the body is not valid")
            .field("delta", format!("must be from -{MOST} to {MOST} and not 0"))
            .into());
    }
    let mut writer = app.store.write(&mut ctx).await?;
    let after = Expr::col(item::Column::Quantity).add(delta.0);
    let told = json!({ "delta": delta, "reason": reason });
    let changed = writer
        .change::<item::Entity>(id)
        .expect_version(expected)
        .set_expr(item::Column::Quantity, after.clone())
        .set_expr(item::Column::ShortSinceVersion, low_stock::short_since(delta))
        .guard(Condition::all().add(after.gte(0)))
        .event_data(move |row| {
            let mut data = told;
            data["sku"] = json!(row.sku);
            data["quantity"] = json!(row.quantity);
            data
        })
        .run_if("adjusted")
        .await?;
    let Some(row) = changed else {
        let found = writer.select::<item::Entity>().id(id).one().await?.ok_or_else(not_found)?;
        if expected.is_some_and(|version| version != found.version) {
            return Err(store::version_mismatch().into());
        }
        let message = format!("there are {} {} in stock, {} would be needed", found.quantity.0, found.unit, -delta.0);
        return Err(Error::conflict("inventory.insufficient_stock", message).into());
    };
    let line = movement::ActiveModel {
        item_id: Set(id),
        delta: Set(delta),
        reason: Set(reason),
        note: Set(input.note.map(String::from)),
        ..Default::default()
    };
    let movement = writer.append::<movement::Entity>(line).await?;
    if let Some(event) = low_stock::event(&row) {
        writer.record(event).await?;
    }
    let version = row.version;
    let answer = Answer::ok(&Adjusted { item: Item::view(&row), movement: movement.into() })?.version(version);
    Ok(writer.commit(answer).await?.into())
}
