//! What the analytics service answers. Not for what it is asked.

use kernel::{Money, Quantity, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::analytics::TopBy;
use crate::day::Day;
use crate::inventory::ItemId;

/// Up to where the figures know what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AsOf {
    /// The position in the event log of the last event that was counted; 0 before the first.
    pub position: i64,
    /// When that event happened.
    pub at: Option<Timestamp>,
    /// Whether the log has events that are not counted yet.
    pub lagging: bool,
}

/// Figures over all items and a window of days of UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventorySummary {
    /// The first day of the window.
    pub from: Day,
    /// The last day of the window.
    pub to: Day,
    /// How many items there are, deleted ones too.
    pub items: i64,
    /// How many items are not deleted.
    pub live_items: i64,
    /// How many live items have no stock.
    pub out_of_stock: i64,
    /// How many live items are at or below their low-stock level.
    pub short: i64,
    /// How many live items have stock, and no demand in the window.
    pub dead_stock: i64,
    /// How many units of live items are in stock.
    pub units_on_hand: Quantity,
    /// What they cost: quantity times unit cost, of live items whose cost is known.
    pub stock_value: Money,
    /// How many live items have no unit cost, and are left out of `stockValue`.
    pub items_without_cost: i64,
    /// How many movements happened in the window, of deleted items too.
    pub movements: i64,
    /// Units received and returned.
    pub units_in: Quantity,
    /// Units sold and consumed: the demand.
    pub units_out: Quantity,
    /// Units by which openings, counts and damage changed the stock; negative is less.
    pub units_corrected: Quantity,
    /// What the units in were worth, as far as it was said.
    pub amount_in: Money,
    /// What the units out were worth, as far as it was said.
    pub amount_out: Money,
    /// Units out of movements that did not say what they were worth.
    pub units_out_without_amount: Quantity,
    /// How often a year the stock of live items is turned over; null without stock.
    pub turns_per_year: Option<f64>,
    /// For how many days the stock of live items lasts; null without demand.
    pub days_of_cover: Option<f64>,
    /// Up to where this knows what happened.
    pub as_of: AsOf,
}

/// Where demand is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More each day.
    Up,
    /// The same.
    Flat,
    /// Less each day.
    Down,
}

/// The items whose demand rises most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrendingItems {
    /// The first day of the window.
    pub from: Day,
    /// The last day of the window.
    pub to: Day,
    /// How many days are one point of the series that a slope is drawn through.
    pub bucket_days: i64,
    /// How many items were looked at: those with most demand.
    pub considered: i64,
    /// Units out of all items in the window.
    pub units_out: Quantity,
    /// The items, the steepest rise first.
    pub items: Vec<TrendingItem>,
    /// Up to where this knows what happened.
    pub as_of: AsOf,
}

/// An item and where its demand is going.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrendingItem {
    /// The item.
    pub item_id: ItemId,
    /// Its stock-keeping unit.
    pub sku: String,
    /// Its name for people.
    pub name: String,
    /// What its quantity counts.
    pub unit: String,
    /// Whether it was deleted since.
    pub deleted: bool,
    /// Units out in the window.
    pub units_out: Quantity,
    /// Its part of the units out of all items, 0 to 1.
    pub share: f64,
    /// By how many units a day its demand grows each day: the Theil-Sen slope.
    pub slope: f64,
    /// Where that goes.
    pub direction: Direction,
}

/// The items that most goes out of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopItems {
    /// The first day of the window.
    pub from: Day,
    /// The last day of the window.
    pub to: Day,
    /// By what they are ranked.
    pub by: TopBy,
    /// Units out of all items in the window.
    pub units_out: Quantity,
    /// The items, the first first.
    pub items: Vec<TopItem>,
    /// Up to where this knows what happened.
    pub as_of: AsOf,
}

/// An item and what goes out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopItem {
    /// The item.
    pub item_id: ItemId,
    /// Its stock-keeping unit.
    pub sku: String,
    /// Its name for people.
    pub name: String,
    /// What its quantity counts.
    pub unit: String,
    /// Whether it was deleted since.
    pub deleted: bool,
    /// How many units are in stock.
    pub quantity: Quantity,
    /// Units out in the window.
    pub units_out: Quantity,
    /// What they were worth, as far as it was said.
    pub amount_out: Money,
    /// Its part of the units out of all items, 0 to 1.
    pub share: f64,
    /// Units out a day, from the window's first day or the item's first movement, if that was later.
    pub units_per_day: f64,
    /// The day on which the stock is used up if demand stays as it was; null without demand, within a
    /// hundred years, or for a deleted item.
    pub stock_out_on: Option<Day>,
}
