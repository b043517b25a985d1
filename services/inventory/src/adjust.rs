//! Changes the stock of an item, by a delta or to a count. Not for batches and reservations, which have
//! actions of their own.

use axum::extract::State;
use kernel::{Answer, Error, Money, Quantity, Result, Text, Timestamp};
use serde::{Deserialize, Serialize};
use service::{App, Feature, Operation, Resource as _, Shape};
use store::{Writer, not_found, version_mismatch};
use utoipa::ToSchema;
use web::{Body, Caller, IfMatch, Path};

use crate::item::{self, Item, ItemId};
use crate::movement::{Movement, Reason};
use crate::settings::{self, NegativeStock};
use crate::stock::{self, MOST, Move};

/// What an adjustment takes: a delta, or what somebody counted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdjustItem {
    /// By how many units; negative is out, and 0 is not an adjustment.
    #[schema(value_type = Option<i64>, minimum = -1_000_000_000_000_000_i64, maximum = 1_000_000_000_000_000_i64)]
    delta: Option<Quantity>,
    /// How many units there are; with it goes `If-Match`, since somebody may have moved stock meanwhile.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    count: Option<Quantity>,
    /// Why; a count is `counted` unless said.
    reason: Option<Reason>,
    /// What somebody notes about it.
    note: Option<Text<500>>,
    /// When it happened; now unless said, and never later.
    occurred_at: Option<Timestamp>,
    /// What all of it was worth, in minor units of the tenant's currency.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    amount: Option<Money>,
    /// What it belongs to elsewhere, such as an order.
    reference: Option<Text<200>>,
}

/// An item after its stock was changed, and the ledger line that says so.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Adjusted {
    /// The item as it is now.
    item: Item,
    /// The new line of the ledger; null where a count found what was known.
    movement: Option<Movement>,
    /// What somebody should know, such as stock below zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// The switch of this action.
pub(crate) const SWITCH: Feature = Feature { key: "inventory.adjust", summary: "Changing the stock of items by hand" };

/// Returns `POST /api/inventory/{id}/adjust`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/inventory/{id}/adjust", "inventory_adjust_item", adjust)
        .path::<ItemId>("id")
        .permission("inventory.items.adjust")
        .feature(SWITCH)
        .shape(Shape::Success)
        .describe(
            "Change an item's stock",
            "Adds `delta` to the stock, or sets it to `count` (with `If-Match`, else 428), writes a ledger line and \
             `inventory.item.adjusted`, all or nothing. A removal that leaves no more available than `lowStockLevel` \
             writes `inventory.item.low_stock` too, once until what is available has been above the level by a tenth \
             of it, at least 1. Where the policy is `deny`, stock never falls below zero, and what others reserved \
             stays: 409 `inventory.insufficient_stock` says what there is; `damaged` and `counted` may take what is \
             reserved, since it is not there. Concurrent adjustments add up; `If-Match` is only needed when the delta \
             was computed from a quantity that was read.",
        )
        .takes::<AdjustItem>()
        .gives::<Adjusted>(200, "Changed")
        .problems(&[400, 404, 409, 412, 415, 428])
}

async fn adjust(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<ItemId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<AdjustItem>,
) -> web::Result {
    input.check(app.now())?;
    if input.count.is_some() && expected.is_none() {
        let message = "send If-Match with the version that you counted against";
        return Err(Error::precondition("request.version_required", message).status_code(428).into());
    }
    let mut writer = app.store.write(&mut ctx).await?;
    let answer = match input.delta {
        Some(delta) => input.apply(&mut writer, id, delta, expected).await?,
        None => input.apply_count(&mut writer, id, expected).await?,
    };
    let version = answer.item.version;
    Ok(writer.commit(Answer::ok(&answer)?.version(version)).await?.into())
}

impl AdjustItem {
    fn check(&self, now: Timestamp) -> Result<()> {
        let wrong = |field: &str, why: String| {
            Err(Error::invalid("request.invalid_body", "the body is not valid").field(field, why))
        };
        match (self.delta, self.count) {
            (Some(delta), None) => stock::check_delta(delta)?,
            (None, Some(count)) if (0..=MOST).contains(&count.0) => {}
            (None, Some(_)) => return wrong("count", format!("must be from 0 to {MOST}")),
            _ => return wrong("delta", "send either delta or count".to_owned()),
        }
        if self.delta.is_some() && self.reason.is_none() {
            return wrong("reason", "must say why the stock changes".to_owned());
        }
        if self.amount.is_some_and(|amount| !(0..=MOST).contains(&amount.0)) {
            return wrong("amount", format!("must be from 0 to {MOST}"));
        }
        if self.occurred_at.is_some_and(|at| at > now) {
            return wrong("occurredAt", "must not be later than now".to_owned());
        }
        Ok(())
    }

    async fn apply(
        self,
        writer: &mut Writer<'_>,
        id: ItemId,
        delta: Quantity,
        expected: Option<i64>,
    ) -> Result<Adjusted> {
        let asked = Move {
            note: self.note.map(String::from),
            occurred_at: self.occurred_at,
            amount: self.amount,
            reference: self.reference.map(String::from),
            expected,
            ..Move::new(id, delta, self.reason.unwrap_or(Reason::Counted))
        };
        let (row, line) = stock::apply(writer, asked).await?;
        let warning = warning(writer, &row, delta).await?;
        Ok(Adjusted { item: Item::view(&row), movement: Some(line.into()), warning })
    }

    async fn apply_count(self, writer: &mut Writer<'_>, id: ItemId, expected: Option<i64>) -> Result<Adjusted> {
        let found = writer.select::<item::Entity>().id(id).lock().one().await?.ok_or_else(not_found)?;
        if expected.is_some_and(|version| version != found.version) {
            return Err(version_mismatch());
        }
        match self.count.map_or(0, |count| count.0 - found.quantity.0) {
            0 => Ok(Adjusted { item: Item::view(&found), movement: None, warning: None }),
            delta => self.apply(writer, id, Quantity(delta), expected).await,
        }
    }
}

/// Says that stock is below zero, where the policy asks for that.
async fn warning(writer: &Writer<'_>, row: &item::Model, delta: Quantity) -> Result<Option<String>> {
    if delta.0 > 0 || row.quantity.0 >= row.reserved.0 {
        return Ok(None);
    }
    let policy = match row.negative_stock.as_deref().and_then(NegativeStock::named) {
        Some(policy) => policy,
        None => settings::of(writer).await?,
    };
    let (there, reserved, unit) = (row.quantity.0, row.reserved.0, &row.unit);
    Ok((policy == NegativeStock::Warn)
        .then(|| format!("there are {there} {unit} in stock now, and {reserved} reserved")))
}
