//! What moved of an item on a day of UTC. A day counts at most `project::MOST` of anything, so that the
//! sum over ten years of an item cannot overflow.

use contracts::inventory::ItemId;
use kernel::{Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "analytics_item_day")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<ItemDay>,
    pub item_id: ItemId,
    /// Days since 1970-01-01.
    pub day: i64,
    pub in_quantity: i64,
    pub out_quantity: i64,
    pub corrected_quantity: i64,
    pub in_amount: i64,
    pub out_amount: i64,
    pub out_without_amount: i64,
    pub movements: i64,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, ItemDay);

/// Marks the ids of days of items.
#[derive(Debug)]
pub struct ItemDay;

impl IdKind for ItemDay {
    const PREFIX: &'static str = "itd";
}
