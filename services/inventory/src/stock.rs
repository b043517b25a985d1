//! Moves stock: the item, the ledger line and the events, in the caller's transaction. Every change of
//! a quantity goes through here. Not for who may ask, nor for how a request says it.

use kernel::{Error, Money, Quantity, Result, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _, SimpleExpr};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, Condition};
use serde_json::{Value, json};
use store::{Writer, not_found, version_mismatch};

use crate::batch::BatchId;
use crate::item::{self, Column, ItemId};
use crate::movement::{self, MovementId, Reason};
use crate::settings::{self, NegativeStock};
use crate::{low_stock, reservation};

/// Far below what 64 bits hold, so that a sum cannot overflow.
pub(crate) const MOST: i64 = 1_000_000_000_000_000;

/// A movement of stock in the making.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub item: ItemId,
    /// By how much; negative is out.
    pub delta: Quantity,
    pub reason: Reason,
    pub note: Option<String>,
    /// When it happened, where that is not now.
    pub occurred_at: Option<Timestamp>,
    pub batch: Option<BatchId>,
    /// What the whole movement was worth, in minor units of the tenant's currency.
    pub amount: Option<Money>,
    /// What it belongs to elsewhere, such as an order.
    pub reference: Option<String>,
    /// The movement that this one takes back.
    pub reverses: Option<MovementId>,
    /// Only if this is still the item's version.
    pub expected: Option<i64>,
    /// How much of what was reserved this movement takes.
    pub unreserve: Quantity,
}

impl Move {
    pub fn new(item: ItemId, delta: Quantity, reason: Reason) -> Self {
        Self {
            item,
            delta,
            reason,
            note: None,
            occurred_at: None,
            batch: None,
            amount: None,
            reference: None,
            reverses: None,
            expected: None,
            unreserve: Quantity(0),
        }
    }
}

/// Says what is wrong with a delta, if anything.
pub(crate) fn check_delta(delta: Quantity) -> Result<()> {
    if delta.0 != 0 && (-MOST..=MOST).contains(&delta.0) {
        return Ok(());
    }
    Err(Error::invalid("request.invalid_body", "the body is not valid")
        .field("delta", format!("must be from -{MOST} to {MOST} and not 0")))
}

/// Moves stock, and gives the item as it is then and the line of the ledger.
pub(crate) async fn apply(writer: &mut Writer<'_>, mut asked: Move) -> Result<(item::Model, movement::Model)> {
    check_delta(asked.delta)?;
    let row = match change_item(writer, &asked, false).await? {
        Some(row) => row,
        None => change_after_all(writer, &mut asked).await?,
    };
    let line = movement::ActiveModel {
        item_id: Set(asked.item),
        delta: Set(asked.delta),
        reason: Set(asked.reason.name()),
        note: Set(asked.note),
        occurred_at: Set(asked.occurred_at),
        batch_id: Set(asked.batch),
        amount: Set(asked.amount),
        reference: Set(asked.reference),
        reverses: Set(asked.reverses),
        ..Default::default()
    };
    let line = writer.append::<movement::Entity>(line).await?;
    if let Some(event) = low_stock::event(&row) {
        writer.record(event).await?;
    }
    Ok((row, line))
}

/// Changes the item in one statement, which also checks: two at once cannot both take the last one.
async fn change_item(writer: &mut Writer<'_>, asked: &Move, below_zero: bool) -> Result<Option<item::Model>> {
    let (delta, unreserve) = (asked.delta, asked.unreserve);
    let quantity = Expr::col(Column::Quantity).add(delta.0);
    let reserved = Expr::col(Column::Reserved).sub(unreserve.0);
    let available = quantity.clone().sub(reserved.clone());
    let told = told(writer, asked);
    let mut change = writer
        .change::<item::Entity>(asked.item)
        .expect_version(asked.expected)
        .set_expr(Column::Quantity, quantity.clone())
        .set_expr(Column::ShortSinceVersion, low_stock::short_since(available.clone(), delta.0 < 0));
    if unreserve.0 != 0 {
        change = change.set_expr(Column::Reserved, reserved.clone()).guard(Condition::all().add(reserved.gte(0)));
    }
    // A batch's movement changes what is in batches; any other one takes units that are in none.
    let batched = Expr::col(Column::Batched);
    if asked.batch.is_some() {
        change = change.set_expr(Column::Batched, batched.clone().add(delta.0));
    }
    if delta.0 < 0 && !below_zero {
        // What is broken, or was never there, is gone whoever reserved it.
        let left: SimpleExpr = if asked.reason.leaves_reservations() { available } else { quantity.clone() };
        let mut enough = Condition::all().add(left.gte(0));
        if asked.batch.is_none() {
            enough = enough.add(quantity.sub(batched).gte(0));
        }
        change = change.guard(Condition::any().add(enough).add(Column::NegativeStock.is_in(BELOW_ZERO)));
    }
    change.event_data(move |row| with_item(told, row)).run_if("adjusted").await
}

/// The policies under which stock may fall below zero.
const BELOW_ZERO: [&str; 2] = [NegativeStock::Warn.name(), NegativeStock::Allow.name()];

/// Finds out why nothing was changed, and tries again where that helps.
async fn change_after_all(writer: &mut Writer<'_>, asked: &mut Move) -> Result<item::Model> {
    let found = writer.select::<item::Entity>().id(asked.item).lock().one().await?.ok_or_else(not_found)?;
    if asked.expected.is_some_and(|version| version != found.version) {
        return Err(version_mismatch());
    }
    // A reservation whose time is up holds nothing, whether or not somebody has cleaned up after it.
    if asked.reason.leaves_reservations() && reservation::release_expired(writer, asked.item).await? {
        if let Some(version) = &mut asked.expected {
            *version += 1;
        }
        if let Some(row) = change_item(writer, asked, false).await? {
            return Ok(row);
        }
    }
    if found.negative_stock.is_none()
        && settings::of(writer).await?.allows_below_zero()
        && let Some(row) = change_item(writer, asked, true).await?
    {
        return Ok(row);
    }
    let item = writer.select::<item::Entity>().id(asked.item).one().await?.ok_or_else(not_found)?;
    Err(insufficient(&item, -asked.delta.0))
}

/// There is less than is asked for.
pub(crate) fn insufficient(item: &item::Model, wanted: i64) -> Error {
    let (there, reserved, unit) = (item.quantity.0, item.reserved.0, &item.unit);
    let mut held = if reserved == 0 { String::new() } else { format!(", {reserved} of them reserved") };
    if item.batched.0 > 0 {
        held.push_str(&format!(", {} in batches (take those by their batch)", item.batched.0));
    }
    let message = format!("there are {there} {unit} in stock{held}, {wanted} would be needed");
    Error::conflict("inventory.insufficient_stock", message)
}

/// Returns what the event says of the movement itself.
fn told(writer: &Writer<'_>, asked: &Move) -> Value {
    let occurred_at = asked.occurred_at.unwrap_or_else(|| writer.now());
    let mut told = json!({ "delta": asked.delta, "reason": asked.reason.name(), "occurredAt": occurred_at });
    if let Some(batch) = asked.batch {
        told["batchId"] = json!(batch);
    }
    if let Some(amount) = asked.amount {
        told["amount"] = json!(amount);
    }
    if let Some(reference) = &asked.reference {
        told["reference"] = json!(reference);
    }
    if let Some(reversed) = asked.reverses {
        told["reverses"] = json!(reversed);
    }
    told
}

fn with_item(mut told: Value, row: &item::Model) -> Value {
    told["sku"] = json!(row.sku);
    told["quantity"] = json!(row.quantity);
    told
}
