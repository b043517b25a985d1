//! An item as its events left it. Not for its history: that is `day`.

use contracts::inventory::{Item, ItemId};
use kernel::{Money, Quantity, TenantId, Timestamp};
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "analytics_item")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// The item's own id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ItemId,
    pub sku: String,
    pub name: String,
    pub unit: String,
    pub quantity: Quantity,
    pub low_stock_level: Option<Quantity>,
    pub unit_cost: Option<Money>,
    /// Quantity times unit cost; the nearest that can be counted where that is too much.
    pub stock_value: Option<Money>,
    /// The day of its first movement.
    pub first_day: Option<i64>,
    pub deleted: bool,
    /// The version that its last counted event left it with: an event up to it was counted.
    pub last_version: i64,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Item);
