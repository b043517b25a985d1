//! A batch: units of an item that came together, with an expiry and a quality check of their own. Its
//! quantity is the sum of the movements that name it. Not for what is done with one: see the files below.

pub(crate) mod consume;
pub(crate) mod create;
pub(crate) mod first_expired;
pub(crate) mod list;
pub(crate) mod movements;
pub(crate) mod qc;
pub(crate) mod receive;
pub(crate) mod removal;
pub(crate) mod suggest;
pub(crate) mod there;

use kernel::{Id, IdKind, Money, Quantity, Result, TenantId, Text, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{NotSet, Set};
use serde::{Deserialize, Serialize};
use service::{Field, FieldKind, Operation, Permissions, Resource, Shape, Spec, UpdateVerb, crud, set_if};
use utoipa::ToSchema;

use crate::item::ItemId;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_batch")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: BatchId,
    pub item_id: ItemId,
    pub code: String,
    pub quantity: Quantity,
    pub received_quantity: Quantity,
    pub received_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub supplier: Option<String>,
    pub unit_cost: Option<Money>,
    pub qc_state: String,
    pub qc_grade: Option<String>,
    pub qc_note: Option<String>,
    pub qc_at: Option<Timestamp>,
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

store::tenant_entity!(Entity, Batch, "inventory.batch", |row: &Model| {
    serde_json::to_value(Batch::view(row)).unwrap_or_default()
});

/// Units of an item that came together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Names the batch.
    pub id: BatchId,
    /// The item that it is of.
    pub item_id: ItemId,
    /// The supplier's number of it: unique among the item's batches that are not deleted.
    pub code: String,
    /// How many units are left: the sum of the batch's movements.
    pub quantity: Quantity,
    /// How many units came.
    pub received_quantity: Quantity,
    /// When they came.
    pub received_at: Timestamp,
    /// From when on they must not be used.
    pub expires_at: Option<Timestamp>,
    /// Who sent them.
    pub supplier: Option<String>,
    /// What one unit cost, in minor units of the tenant's currency.
    pub unit_cost: Option<Money>,
    /// How its quality check went: `pending`, `passed` or `failed`.
    pub qc_state: String,
    /// The grade that it was given.
    pub qc_grade: Option<String>,
    /// What was noted about it.
    pub qc_note: Option<String>,
    /// When it was checked.
    pub qc_at: Option<Timestamp>,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it was entered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Names a batch.
pub type BatchId = Id<Batch>;

impl IdKind for Batch {
    const PREFIX: &'static str = "bat";
}

/// What entering a batch takes. Its units come in with it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateBatch {
    /// The item; or say its `sku`.
    pub item_id: Option<ItemId>,
    /// The item's stock-keeping unit; or say its `itemId`.
    pub sku: Option<Text<64>>,
    /// The supplier's number of it.
    pub code: Text<64>,
    /// How many units come; 0 when the batch is only announced.
    #[schema(value_type = i64, minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    pub quantity: Quantity,
    /// When they came; now unless said, and never later.
    pub received_at: Option<Timestamp>,
    /// From when on they must not be used; later than `receivedAt`.
    pub expires_at: Option<Timestamp>,
    /// Who sent them.
    pub supplier: Option<Text<200>>,
    /// What one unit cost, in minor units of the tenant's currency.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub unit_cost: Option<Money>,
    /// What somebody notes about it; the ledger keeps it.
    pub note: Option<Text<500>>,
}

/// What changing a batch takes: the fields to set. Movements change its quantity, a check its `qcState`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateBatch {
    /// The supplier's number of it.
    pub code: Option<Text<64>>,
    /// From when on its units must not be used.
    pub expires_at: Option<Timestamp>,
    /// Who sent them.
    pub supplier: Option<Text<200>>,
    /// What one unit cost, in minor units of the tenant's currency.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub unit_cost: Option<Money>,
}

impl Resource for Batch {
    type Entity = Entity;
    type Create = CreateBatch;
    type Update = UpdateBatch;

    const SPEC: Spec = Spec {
        service: "inventory",
        singular: "batch",
        plural: "batches",
        path: "/api/inventory/batches",
        item_path: "/api/inventory/batches/{id}",
        restore_path: "/api/inventory/batches/{id}/restore",
        export_path: Some("/api/inventory/export/batches"),
        update: UpdateVerb::Put,
        permissions: Permissions {
            read: "inventory.batches.read",
            write: "inventory.batches.write",
            delete: "inventory.batches.delete",
            restore: "inventory.batches.restore",
            export: "inventory.batches.export",
        },
        shape: Shape::Success,
        export: &[
            "id",
            "itemId",
            "code",
            "quantity",
            "receivedQuantity",
            "receivedAt",
            "expiresAt",
            "supplier",
            "unitCost",
            "qcState",
            "qcGrade",
            "qcNote",
            "qcAt",
            "version",
            "createdAt",
            "updatedAt",
        ],
    };

    /// Batches have a list of their own, since some sort columns may be empty: see `list`.
    fn fields() -> Vec<Field<Column>> {
        vec![Field::new("createdAt", Column::CreatedAt, FieldKind::Time)]
    }

    fn view(row: &Model) -> Self {
        Self {
            id: row.id,
            item_id: row.item_id,
            code: row.code.clone(),
            quantity: row.quantity,
            received_quantity: row.received_quantity,
            received_at: row.received_at,
            expires_at: row.expires_at,
            supplier: row.supplier.clone(),
            unit_cost: row.unit_cost,
            qc_state: row.qc_state.clone(),
            qc_grade: row.qc_grade.clone(),
            qc_note: row.qc_note.clone(),
            qc_at: row.qc_at,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }

    /// The item and the moment are added by the action that knows them.
    fn create(input: CreateBatch) -> Result<ActiveModel> {
        Ok(ActiveModel {
            code: Set(input.code.into()),
            quantity: Set(input.quantity),
            received_quantity: Set(input.quantity),
            expires_at: Set(input.expires_at),
            supplier: Set(input.supplier.map(String::from)),
            unit_cost: Set(create::cost(input.unit_cost)?),
            qc_state: Set(qc::PENDING.to_owned()),
            qc_grade: Set(None),
            qc_note: Set(None),
            qc_at: Set(None),
            ..Default::default()
        })
    }

    fn update(input: UpdateBatch) -> Result<ActiveModel> {
        Ok(ActiveModel {
            code: set_if(input.code),
            expires_at: input.expires_at.map_or(NotSet, |at| Set(Some(at))),
            supplier: input.supplier.map_or(NotSet, |text| Set(Some(text.into()))),
            unit_cost: match create::cost(input.unit_cost)? {
                Some(cost) => Set(Some(cost)),
                None => NotSet,
            },
            ..Default::default()
        })
    }
}

impl Model {
    /// Says whether its units may not be used any more.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Says whether its quality check went wrong.
    pub(crate) fn has_failed(&self) -> bool {
        self.qc_state == qc::FAILED
    }
}

/// Returns what is done with batches.
pub(crate) fn operations() -> Vec<Operation> {
    let own = ["inventory_list_batches", "inventory_create_batch", "inventory_delete_batch"];
    let mut operations = crud::<Batch>();
    operations.retain(|operation| !own.contains(&operation.id.as_str()));
    operations.extend([list::operation(), create::operation(), receive::operation(), removal::operation()]);
    operations.extend([
        consume::operation(),
        qc::operation(),
        movements::operation(),
        suggest::operation(),
        first_expired::operation(),
    ]);
    operations
}
