//! The rows of an import of movements: what a row says, and moving stock that way. A dry run only keeps
//! count. Not for the items themselves.

use std::collections::HashMap;

use kernel::{Money, Quantity, Result, Timestamp};
use sea_orm::{ColumnTrait as _, Condition};
use store::{Scoped, Writer};

use super::Fault;
use super::fields::Fields;
use crate::item::{Column, Entity, ItemId, Model};
use crate::movement::Reason;
use crate::settings::NegativeStock;
use crate::stock::{self, MOST, Move};

/// A row.
#[derive(Debug)]
pub(super) struct MovementRow {
    item: Option<ItemId>,
    sku: Option<String>,
    delta: i64,
    reason: Reason,
    note: Option<String>,
    occurred_at: Option<Timestamp>,
    amount: Option<i64>,
    reference: Option<String>,
}

/// Reads a row.
pub(super) fn parse(mut fields: Fields, now: Timestamp) -> Result<MovementRow, Vec<Fault>> {
    for name in ["delta", "reason"] {
        fields.required(name);
    }
    let id = |text: &str| text.parse::<ItemId>().map_err(|_| "must be the id of an item".to_owned());
    let (item, sku) = (fields.parsed("itemId", id), fields.text::<64>("sku"));
    if item.is_none() && sku.is_none() {
        fields.required("sku");
    }
    let delta = fields.parsed("delta", |text| match text.trim().parse::<i64>() {
        Ok(delta) if delta != 0 && (-MOST..=MOST).contains(&delta) => Ok(delta),
        _ => Err(format!("must be a whole number from -{MOST} to {MOST} and not 0")),
    });
    let reason = fields.parsed("reason", |text| {
        Reason::named(text)
            .ok_or_else(|| "must be opening, received, sold, consumed, returned, damaged or counted".to_owned())
    });
    let occurred_at = fields.time("occurredAt");
    if occurred_at.is_some_and(|at| at > now) {
        fields.fault("occurredAt", "inventory.import_invalid_value", "must not be later than now");
    }
    let (note, reference) = (fields.text::<500>("note"), fields.text::<200>("reference"));
    let amount = fields.number("amount", 0..=MOST);
    let row = delta.zip(reason).map(|(delta, reason)| MovementRow {
        item,
        sku,
        delta,
        reason,
        note,
        occurred_at,
        amount,
        reference,
    });
    fields.finish(row)
}

/// What is known of an item's stock.
#[derive(Clone, Copy, Debug)]
struct Held {
    quantity: i64,
    reserved: i64,
    below_zero: bool,
}

/// The items that movements are about.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    held: HashMap<ItemId, Held>,
    by_sku: HashMap<String, ItemId>,
}

/// The farthest from 0 that stock may be.
const FARTHEST: i64 = 9_000_000_000_000_000;

impl Shelf {
    /// Reads the items that these rows are about and that are not known yet.
    pub async fn fill<'r>(
        &mut self,
        query: Scoped<'_, Entity>,
        tenants_policy: NegativeStock,
        rows: impl Iterator<Item = &'r MovementRow>,
    ) -> Result<()> {
        let (mut ids, mut skus) = (Vec::new(), Vec::new());
        for row in rows {
            ids.extend(row.item.filter(|item| !self.held.contains_key(item)));
            skus.extend(row.sku.clone().filter(|sku| !self.by_sku.contains_key(sku)));
        }
        if ids.is_empty() && skus.is_empty() {
            return Ok(());
        }
        let wanted = Condition::any().add(Column::Id.is_in(ids)).add(Column::Sku.is_in(skus));
        for item in query.filter(wanted).all().await? {
            self.by_sku.insert(item.sku.clone(), item.id);
            let policy = item.negative_stock.as_deref().and_then(NegativeStock::named).unwrap_or(tenants_policy);
            let (quantity, reserved) = (item.quantity.0, item.reserved.0);
            self.held.entry(item.id).or_insert(Held { quantity, reserved, below_zero: policy.allows_below_zero() });
        }
        Ok(())
    }

    /// Returns the item that a row is about: by its id where that is known here, else by its SKU.
    fn find(&self, row: &MovementRow) -> Result<(ItemId, Held), Fault> {
        let by_sku = || self.by_sku.get(row.sku.as_deref()?).copied();
        let found = row.item.filter(|item| self.held.contains_key(item)).or_else(by_sku);
        let found = found.and_then(|item| Some((item, *self.held.get(&item)?)));
        let column = if row.sku.is_some() { "sku" } else { "itemId" };
        found.ok_or_else(|| Fault::at(column, "inventory.import_no_such_item", "there is no such item"))
    }

    fn checked(&self, row: &MovementRow) -> Result<(ItemId, Held), Fault> {
        let (item, held) = self.find(row)?;
        if (held.quantity + row.delta).abs() > FARTHEST {
            let message = "the stock would leave the range that can be counted";
            return Err(Fault::at("delta", "inventory.quantity_out_of_range", message));
        }
        Ok((item, held))
    }

    /// Keeps count of a movement without making it.
    pub fn pretend(&mut self, row: &MovementRow) -> Result<(), Fault> {
        let (item, mut held) = self.checked(row)?;
        held.quantity += row.delta;
        let left = if row.reason.leaves_reservations() { held.quantity - held.reserved } else { held.quantity };
        if row.delta < 0 && left < 0 && !held.below_zero {
            let (there, reserved) = (held.quantity - row.delta, held.reserved);
            let message = format!("there would be {there} in stock, {reserved} of them reserved");
            return Err(Fault::at("delta", "inventory.insufficient_stock", message));
        }
        self.held.insert(item, held);
        Ok(())
    }

    /// Makes a movement.
    pub async fn apply(&mut self, writer: &mut Writer<'_>, row: &MovementRow) -> Result<Result<(), Fault>> {
        let item = match self.checked(row) {
            Ok((item, _)) => item,
            Err(fault) => return Ok(Err(fault)),
        };
        let asked = Move {
            note: row.note.clone(),
            occurred_at: row.occurred_at,
            amount: row.amount.map(Money),
            reference: row.reference.clone(),
            ..Move::new(item, Quantity(row.delta), row.reason)
        };
        match stock::apply(writer, asked).await {
            Ok((after, _)) => {
                self.note(&after);
                Ok(Ok(()))
            }
            Err(error) if error.code() == "inventory.insufficient_stock" => {
                Ok(Err(Fault::at("delta", error.code(), error.message())))
            }
            Err(error) => Err(error),
        }
    }

    fn note(&mut self, after: &Model) {
        if let Some(held) = self.held.get_mut(&after.id) {
            (held.quantity, held.reserved) = (after.quantity.0, after.reserved.0);
        }
    }
}
