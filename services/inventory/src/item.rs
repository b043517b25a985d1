//! An item that is kept in stock. Its quantity is the sum of its ledger, so only movements change
//! it; everything else is described here. Not for batches or reservations.

use kernel::{Id, IdKind, Money, Quantity, Result, TenantId, Text, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{NotSet, Set};
use serde::{Deserialize, Serialize};
use service::{Field, FieldKind, Permissions, Resource, Shape, Spec, UpdateVerb, set_if};
use utoipa::ToSchema;

use crate::settings::NegativeStock;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_item")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ItemId,
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    pub unit: String,
    pub quantity: Quantity,
    pub low_stock_level: Option<Quantity>,
    /// The version with which the item became short; nothing while it is not. See `low_stock`.
    pub short_since_version: Option<i64>,
    pub reserved: Quantity,
    /// How many are in batches: the sum of the batches' quantities.
    pub batched: Quantity,
    pub unit_cost: Option<Money>,
    pub negative_stock: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub version: i64,
    pub updated_at: Timestamp,
    pub updated_by: String,
    pub deleted_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_entity!(Entity, Item, "inventory.item", |row: &Model| {
    serde_json::to_value(Item::view(row)).unwrap_or_default()
});

/// An item that is kept in stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Names the item.
    pub id: ItemId,
    /// The stock-keeping unit: unique among the tenant's items that are not deleted.
    pub sku: String,
    /// Its name for people.
    pub name: String,
    /// More about it.
    pub description: Option<String>,
    /// What its quantity counts, such as `piece` or `gram`.
    pub unit: String,
    /// How many units are in stock: the sum of the item's movements.
    pub quantity: Quantity,
    /// How many of them are held by reservations.
    pub reserved: Quantity,
    /// How many are there for whoever asks: those in stock that nobody reserved.
    pub available: Quantity,
    /// At or below this many available units the item is short.
    pub low_stock_level: Option<Quantity>,
    /// What one unit is worth, in minor units of the tenant's currency.
    pub unit_cost: Option<Money>,
    /// What happens when somebody takes more than there is; null is the tenant's policy.
    pub negative_stock: Option<NegativeStock>,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Names an item.
pub type ItemId = Id<Item>;

impl IdKind for Item {
    const PREFIX: &'static str = "itm";
}

/// What creating an item takes. Its stock starts at 0; adjust it to what is there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateItem {
    /// The stock-keeping unit.
    pub sku: Text<64>,
    /// Its name for people.
    pub name: Text<200>,
    /// More about it.
    pub description: Option<Text<2000>>,
    /// What its quantity counts; `piece` unless said.
    pub unit: Option<Text<32>>,
    /// At or below this many available units the item is short.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub low_stock_level: Option<Quantity>,
    /// What one unit is worth, in minor units of the tenant's currency.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub unit_cost: Option<Money>,
    /// What happens when somebody takes more than there is; the tenant's policy unless said.
    pub negative_stock: Option<NegativeStock>,
}

/// What changing an item takes: the fields to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateItem {
    /// The stock-keeping unit.
    pub sku: Option<Text<64>>,
    /// Its name for people.
    pub name: Option<Text<200>>,
    /// More about it.
    pub description: Option<Text<2000>>,
    /// What its quantity counts.
    pub unit: Option<Text<32>>,
    /// At or below this many available units the item is short.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub low_stock_level: Option<Quantity>,
    /// What one unit is worth, in minor units of the tenant's currency.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub unit_cost: Option<Money>,
    /// What happens when somebody takes more than there is; the tenant's policy unless said.
    pub negative_stock: Option<NegativeStock>,
}

impl Resource for Item {
    type Entity = Entity;
    type Create = CreateItem;
    type Update = UpdateItem;

    const SPEC: Spec = Spec {
        service: "inventory",
        singular: "item",
        plural: "items",
        path: "/api/inventory",
        item_path: "/api/inventory/{id}",
        restore_path: "/api/inventory/{id}/restore",
        export_path: Some("/api/inventory/export/inventory"),
        update: UpdateVerb::Put,
        permissions: Permissions {
            read: "inventory.items.read",
            write: "inventory.items.write",
            delete: "inventory.items.delete",
            restore: "inventory.items.restore",
            export: "inventory.items.export",
        },
        shape: Shape::Success,
        export: &[
            "id",
            "sku",
            "name",
            "description",
            "unit",
            "quantity",
            "reserved",
            "lowStockLevel",
            "unitCost",
            "negativeStock",
            "version",
            "createdAt",
            "updatedAt",
        ],
    };

    fn fields() -> Vec<Field<Column>> {
        vec![
            Field::new("createdAt", Column::CreatedAt, FieldKind::Time),
            Field::new("updatedAt", Column::UpdatedAt, FieldKind::Time),
            Field::new("name", Column::Name, FieldKind::Text),
            Field::new("sku", Column::Sku, FieldKind::Text),
            Field::new("quantity", Column::Quantity, FieldKind::Integer),
            Field::new("unit", Column::Unit, FieldKind::Text),
        ]
    }

    fn view(row: &Model) -> Self {
        Self {
            id: row.id,
            sku: row.sku.clone(),
            name: row.name.clone(),
            description: row.description.clone(),
            unit: row.unit.clone(),
            quantity: row.quantity,
            reserved: row.reserved,
            available: Quantity(row.quantity.0 - row.reserved.0),
            low_stock_level: row.low_stock_level,
            unit_cost: row.unit_cost,
            negative_stock: row.negative_stock.as_deref().and_then(NegativeStock::named),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }

    fn create(input: CreateItem) -> Result<ActiveModel> {
        Ok(ActiveModel {
            sku: Set(input.sku.into()),
            name: Set(input.name.into()),
            description: Set(input.description.map(String::from)),
            unit: Set(input.unit.map_or_else(|| "piece".to_owned(), String::from)),
            quantity: Set(Quantity(0)),
            reserved: Set(Quantity(0)),
            batched: Set(Quantity(0)),
            low_stock_level: Set(level(input.low_stock_level)?),
            unit_cost: Set(cost(input.unit_cost)?),
            negative_stock: Set(input.negative_stock.map(|policy| policy.name().to_owned())),
            ..Default::default()
        })
    }

    fn update(input: UpdateItem) -> Result<ActiveModel> {
        Ok(ActiveModel {
            sku: set_if(input.sku),
            name: set_if(input.name),
            description: input.description.map_or(NotSet, |text| Set(Some(text.into()))),
            unit: set_if(input.unit),
            low_stock_level: match level(input.low_stock_level)? {
                Some(level) => Set(Some(level)),
                None => NotSet,
            },
            unit_cost: match cost(input.unit_cost)? {
                Some(cost) => Set(Some(cost)),
                None => NotSet,
            },
            negative_stock: input.negative_stock.map_or(NotSet, |policy| Set(Some(policy.name().to_owned()))),
            ..Default::default()
        })
    }
}

fn level(level: Option<Quantity>) -> Result<Option<Quantity>> {
    if level.is_some_and(|level| level.0 < 0) {
        return Err(kernel::Error::invalid("request.invalid_body", "the body is not valid")
            .field("lowStockLevel", "must not be negative"));
    }
    Ok(level)
}

/// The most that one unit may be worth: its sum over all that can be counted fits.
pub(crate) const DEAREST: i64 = 1_000_000_000_000;

fn cost(cost: Option<Money>) -> Result<Option<Money>> {
    if cost.is_some_and(|cost| !(0..=DEAREST).contains(&cost.0)) {
        return Err(kernel::Error::invalid("request.invalid_body", "the body is not valid")
            .field("unitCost", format!("must be from 0 to {DEAREST}")));
    }
    Ok(cost)
}
