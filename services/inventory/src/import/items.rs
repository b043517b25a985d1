//! The rows of an import of items: what a row says, and making the item that way. Not for its ledger
//! beyond the first line: see `movements`.

use std::collections::HashMap;

use kernel::{Money, Quantity, Result};
use sea_orm::sea_query::{IntoCondition as _, Order};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, NotSet};
use service::Resource as _;
use store::{Scoped, Writer};

use super::fields::Fields;
use super::{Fault, OnExisting, Options, Stock};
use crate::item::{self, ActiveModel, Column, CreateItem, DEAREST, Entity, Item, Model};
use crate::movement::Reason;
use crate::settings::NegativeStock;
use crate::stock::{self, MOST, Move};

/// A row. Where the file has no such column it is `None`, and where the cell is empty `Some(None)`.
#[derive(Debug)]
pub(super) struct ItemRow {
    pub sku: String,
    deleted: bool,
    name: Option<String>,
    unit: Option<String>,
    description: Option<Option<String>>,
    low_stock_level: Option<Option<i64>>,
    unit_cost: Option<Option<i64>>,
    negative_stock: Option<Option<NegativeStock>>,
    quantity: Option<i64>,
}

/// What a row asks for.
pub(super) enum Plan {
    /// It says what is there.
    Nothing,
    /// A new item, with this stock.
    Create(ActiveModel, i64),
    /// Other columns, and another stock.
    Change(Box<Model>, Option<ActiveModel>, i64),
}

/// Reads a row.
pub(super) fn parse(mut fields: Fields, options: Options) -> Result<ItemRow, Vec<Fault>> {
    fields.required("sku");
    let sku = fields.text::<64>("sku");
    let description = fields.has("description").then(|| fields.text::<2000>("description"));
    let level = fields.has("lowStockLevel").then(|| fields.number("lowStockLevel", 0..=MOST));
    let cost = fields.has("unitCost").then(|| fields.number("unitCost", 0..=DEAREST));
    let policy = |text: &str| NegativeStock::named(text).ok_or_else(|| "must be deny, warn or allow".to_owned());
    let negative_stock = fields.has("negativeStock").then(|| fields.parsed("negativeStock", policy));
    let (name, unit) = (fields.text::<200>("name"), fields.text::<32>("unit"));
    let quantity = if options.stock == Stock::Opening { fields.number("quantity", 0..=MOST) } else { None };
    let deleted = fields.filled("deletedAt");
    let row = sku.map(|sku| ItemRow {
        sku,
        deleted,
        name,
        unit,
        description,
        low_stock_level: level,
        unit_cost: cost,
        negative_stock,
        quantity,
    });
    fields.finish(row)
}

/// Reads the items that these rows are about.
pub(super) async fn present(query: Scoped<'_, Entity>, skus: Vec<String>) -> Result<HashMap<String, Model>> {
    let query = query.filter(Column::Sku.is_in(skus).into_condition()).order_by(Column::Id, Order::Asc);
    Ok(query.all().await?.into_iter().map(|item| (item.sku.clone(), item)).collect())
}

/// Decides what a row asks for; nothing is done yet, so a dry run decides alike.
pub(super) fn plan(row: &ItemRow, present: Option<&Model>, options: Options) -> Result<Plan, Fault> {
    let Some(item) = present else {
        return if row.deleted { Ok(Plan::Nothing) } else { create(row) };
    };
    match options.on_existing {
        _ if row.deleted => return Ok(Plan::Nothing),
        OnExisting::Skip => return Ok(Plan::Nothing),
        OnExisting::Fail => {
            return Err(Fault::at("sku", "inventory.import_exists", "an item with this SKU is there already"));
        }
        OnExisting::Update => {}
    }
    let delta = row.quantity.map_or(0, |quantity| quantity - item.quantity.0);
    if !(-MOST..=MOST).contains(&delta) {
        let message = format!("must differ from what is there by at most {MOST}");
        return Err(Fault::at("quantity", "inventory.quantity_out_of_range", message));
    }
    match (changes(row, item), delta) {
        (None, 0) => Ok(Plan::Nothing),
        (changes, delta) => Ok(Plan::Change(Box::new(item.clone()), changes, delta)),
    }
}

fn create(row: &ItemRow) -> Result<Plan, Fault> {
    let text = |text: &str| serde_json::Value::from(text);
    let Some(name) = &row.name else {
        return Err(Fault::at("name", "inventory.import_invalid_value", "must not be empty for a new item"));
    };
    let invalid = |_| Fault::new("inventory.import_invalid_value", "the item cannot be made");
    let input = CreateItem {
        sku: serde_json::from_value(text(&row.sku)).map_err(invalid)?,
        name: serde_json::from_value(text(name)).map_err(invalid)?,
        description: None,
        unit: None,
        low_stock_level: row.low_stock_level.flatten().map(Quantity),
        unit_cost: row.unit_cost.flatten().map(Money),
        negative_stock: row.negative_stock.flatten(),
    };
    let mut item = Item::create(input).map_err(|error| Fault::new(error.code(), error.message()))?;
    item.description = Set(row.description.clone().flatten());
    if let Some(unit) = &row.unit {
        item.unit = Set(unit.clone());
    }
    Ok(Plan::Create(item, row.quantity.unwrap_or(0)))
}

/// Returns the columns that the row would change, if it would change any.
fn changes(row: &ItemRow, item: &Model) -> Option<ActiveModel> {
    let mut changed = false;
    let mut note = |differs: bool| {
        changed |= differs;
        differs
    };
    let policy = row.negative_stock.map(|policy| policy.map(|policy| policy.name().to_owned()));
    let (level, cost) = (row.low_stock_level.map(|it| it.map(Quantity)), row.unit_cost.map(|it| it.map(Money)));
    let columns = ActiveModel {
        name: set_if(row.name.clone().filter(|name| note(*name != item.name))),
        unit: set_if(row.unit.clone().filter(|unit| note(*unit != item.unit))),
        description: set_if(row.description.clone().filter(|text| note(*text != item.description))),
        low_stock_level: set_if(level.filter(|level| note(*level != item.low_stock_level))),
        unit_cost: set_if(cost.filter(|cost| note(*cost != item.unit_cost))),
        negative_stock: set_if(policy.filter(|policy| note(*policy != item.negative_stock))),
        ..Default::default()
    };
    changed.then_some(columns)
}

fn set_if<T: Into<sea_orm::Value>>(value: Option<T>) -> sea_orm::ActiveValue<T> {
    value.map_or(NotSet, Set)
}

/// Does what a row asks for, and says whether that was anything.
pub(super) async fn apply(writer: &mut Writer<'_>, plan: Plan) -> Result<bool> {
    let (id, delta, reason) = match plan {
        Plan::Nothing => return Ok(false),
        Plan::Create(item, quantity) => (writer.insert::<Entity>(item).await?.id, quantity, Reason::Opening),
        Plan::Change(item, changes, delta) => {
            if let Some(changes) = changes {
                writer.update::<item::Entity>(item.id, None, changes).await?;
            }
            (item.id, delta, Reason::Counted)
        }
    };
    if delta != 0 {
        stock::apply(writer, Move::new(id, Quantity(delta), reason)).await?;
    }
    Ok(true)
}
