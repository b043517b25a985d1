//! Takes units of an item: of its batches what expires first, then what is in no batch. Not for choosing a
//! batch by hand: see `consume`.

use axum::extract::State;
use kernel::{Answer, Quantity, Result, Text, Timestamp};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Resource as _, Shape};
use store::Writer;
use utoipa::ToSchema;
use web::{Body, Caller, Path};

use super::consume;
use super::there::There;
use crate::adjust;
use crate::item::{self, Item, ItemId};
use crate::movement::{self, Movement, Reason};
use crate::stock::{self, Move};

/// Why units of an item are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ItemUse {
    /// They are used up.
    #[default]
    Consumed,
    /// They go out to a customer.
    Sold,
}

impl ItemUse {
    /// Returns what the ledger says.
    pub fn reason(self) -> Reason {
        match self {
            Self::Consumed => Reason::Consumed,
            Self::Sold => Reason::Sold,
        }
    }
}

/// What taking units of an item takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConsumeItem {
    /// How many units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    quantity: Quantity,
    /// Why; `consumed` unless said.
    #[serde(default)]
    reason: ItemUse,
    /// What somebody notes about it.
    note: Option<Text<500>>,
    /// What it belongs to elsewhere, such as an order.
    reference: Option<Text<200>>,
    /// When it happened; now unless said, and never later.
    occurred_at: Option<Timestamp>,
}

/// An item after units of it were taken, and the ledger lines that say of which batches.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Consumption {
    /// The item as it is now.
    item: Item,
    /// The new lines of the ledger, one for each batch, and one for what was in none.
    movements: Vec<Movement>,
}

/// Returns `POST /api/inventory/{id}/consume`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/{id}/consume", "inventory_consume_item", consume_item)
        .path::<ItemId>("id")
        .permission("inventory.items.adjust")
        .feature(adjust::SWITCH)
        .shape(Shape::Success)
        .describe(
            "Take units, first expired, first out",
            "Takes the units that `suggest` names: of the batches that are neither expired nor failed, what expires \
             first, then what came first, then what is in no batch. Writes a ledger line for each batch, with \
             `inventory.item.adjusted` and `inventory.batch.consumed`, all or nothing. 409 \
             `inventory.insufficient_stock` when there is less, under the policy `deny`; what others reserved is \
             theirs.",
        )
        .takes::<ConsumeItem>()
        .gives::<Consumption>(200, "Taken")
        .problems(&[400, 404, 409, 415])
}

async fn consume_item(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<ItemId>,
    Body(input): Body<ConsumeItem>,
) -> web::Result {
    consume::check(input.quantity, input.occurred_at, app.now())?;
    let asked = Move {
        note: input.note.map(String::from),
        reference: input.reference.map(String::from),
        occurred_at: input.occurred_at,
        ..Move::new(id, Quantity(-input.quantity.0), input.reason.reason())
    };
    let mut writer = app.store.write(&mut ctx).await?;
    let (item, lines) = take(&mut writer, asked).await?;
    let version = item.version;
    let movements = lines.into_iter().map(Movement::from).collect();
    let answer = Answer::ok(&Consumption { item: Item::view(&item), movements })?.version(version);
    Ok(writer.commit(answer).await?.into())
}

/// Takes units of an item, what expires first: what a movement asks for, in as many movements as there are
/// batches to take them of. `unreserve` is what the caller's own reservation holds, at least what is taken.
pub(crate) async fn take(writer: &mut Writer<'_>, asked: Move) -> Result<(item::Model, Vec<movement::Model>)> {
    let (wanted, mut held) = (-asked.delta.0, asked.unreserve.0);
    let mut there = There::locked(writer, asked.item).await?;
    if !there.has(writer, wanted, held).await? && !there.allows_below_zero(writer).await? {
        return Err(there.insufficient(wanted));
    }
    let plan = there.plan(wanted);
    // What is missing may only be taken where stock may fall below zero, and is in no batch then.
    let loose = plan.loose + plan.missing;
    let parts = plan.lines.iter().map(|(batch, taken)| (Some(*batch), *taken));
    let parts: Vec<_> = parts.chain((loose > 0).then_some((None, loose))).collect();
    let (mut item, mut lines) = (there.item, Vec::with_capacity(parts.len()));
    for (at, (batch, taken)) in parts.iter().enumerate() {
        // The last one gives back what was held and is not taken.
        let unreserve = if at + 1 == parts.len() { held } else { held.min(*taken) };
        held -= unreserve;
        let part = Move { delta: Quantity(-taken), unreserve: Quantity(unreserve), ..asked.clone() };
        let (row, line) = match batch {
            Some(batch) => consume::take(writer, *batch, part).await.map(|(row, _, line)| (row, line))?,
            None => stock::apply(writer, part).await?,
        };
        item = row;
        lines.push(line);
    }
    Ok((item, lines))
}
