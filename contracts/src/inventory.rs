//! What the events of the inventory service say, as far as others read it. An event may say more, and
//! an old one less. Not for its routes.

use kernel::{Id, IdKind, Money, Quantity, Timestamp};
use serde::{Deserialize, Serialize};

/// An item was created; the data is an [`ItemState`].
pub const ITEM_CREATED: &str = "inventory.item.created";
/// An item's description was changed; the data is an [`ItemState`].
pub const ITEM_UPDATED: &str = "inventory.item.updated";
/// An item's stock was changed; the data is an [`ItemAdjusted`].
pub const ITEM_ADJUSTED: &str = "inventory.item.adjusted";
/// An item was deleted; the data is an [`ItemState`].
pub const ITEM_DELETED: &str = "inventory.item.deleted";
/// A deleted item was restored; the data is an [`ItemState`].
pub const ITEM_RESTORED: &str = "inventory.item.restored";

/// Marks the ids of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item;

impl IdKind for Item {
    const PREFIX: &'static str = "itm";
}

/// Names an item; the subject of its events.
pub type ItemId = Id<Item>;

/// An item as it is after the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemState {
    /// The stock-keeping unit.
    pub sku: String,
    /// Its name for people.
    pub name: String,
    /// What its quantity counts.
    pub unit: String,
    /// How many units are in stock.
    pub quantity: Quantity,
    /// At or below this many units it is short.
    #[serde(default)]
    pub low_stock_level: Option<Quantity>,
    /// What a unit cost, in minor units of the tenant's currency.
    #[serde(default)]
    pub unit_cost: Option<Money>,
}

/// A movement of an item's stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemAdjusted {
    /// The stock-keeping unit.
    pub sku: String,
    /// By how many units; negative is out.
    pub delta: Quantity,
    /// How many units there are afterwards.
    pub quantity: Quantity,
    /// Why: `opening`, `received`, `sold`, `consumed`, `returned`, `damaged` or `counted`.
    pub reason: String,
    /// When it happened; when the event was written, where nothing is said.
    #[serde(default)]
    pub occurred_at: Option<Timestamp>,
    /// What the whole movement was worth, in minor units of the tenant's currency.
    #[serde(default)]
    pub amount: Option<Money>,
    /// The batch that it belongs to.
    #[serde(default)]
    pub batch_id: Option<String>,
    /// What it belongs to elsewhere, such as an order.
    #[serde(default)]
    pub reference: Option<String>,
}
