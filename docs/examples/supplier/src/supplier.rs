//! A company that things are bought from. Whether it may be ordered from is a matter of the
//! `approve` action; everything else is described here. Not for orders.

use kernel::{Id, IdKind, Money, Result, TenantId, Text, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{NotSet, Set};
use serde::{Deserialize, Serialize};
use service::{Field, FieldKind, Permissions, Resource, Shape, Spec, UpdateVerb, set_if};
use utoipa::ToSchema;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "example_supplier")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SupplierId,
    pub name: String,
    pub note: Option<String>,
    pub order_limit: Option<Money>,
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

store::tenant_entity!(Entity, Supplier, "example.supplier", |row: &Model| {
    serde_json::to_value(Supplier::view(row)).unwrap_or_default()
});

/// A company that things are bought from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Supplier {
    /// Names the supplier.
    pub id: SupplierId,
    /// Its name: unique among the tenant's suppliers that are not deleted.
    pub name: String,
    /// What somebody noted about it.
    pub note: Option<String>,
    /// The largest order that it may get; null until it is approved.
    pub order_limit: Option<Money>,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Names a supplier.
pub type SupplierId = Id<Supplier>;

impl IdKind for Supplier {
    const PREFIX: &'static str = "sup";
}

/// What creating a supplier takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateSupplier {
    /// Its name.
    pub name: Text<200>,
    /// What somebody notes about it.
    pub note: Option<Text<2000>>,
}

/// What changing a supplier takes: the fields to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateSupplier {
    /// Its name.
    pub name: Option<Text<200>>,
    /// What somebody notes about it.
    pub note: Option<Text<2000>>,
}

impl Resource for Supplier {
    type Entity = Entity;
    type Create = CreateSupplier;
    type Update = UpdateSupplier;

    const SPEC: Spec = Spec {
        service: "example",
        singular: "supplier",
        plural: "suppliers",
        path: "/api/example/suppliers",
        item_path: "/api/example/suppliers/{id}",
        restore_path: "/api/example/suppliers/{id}/restore",
        export_path: Some("/api/example/suppliers/export"),
        update: UpdateVerb::Patch,
        permissions: Permissions {
            read: "example.suppliers.read",
            write: "example.suppliers.write",
            delete: "example.suppliers.delete",
            restore: "example.suppliers.restore",
            export: "example.suppliers.export",
        },
        shape: Shape::Plain,
        export: &["id", "name", "note", "orderLimit", "version", "createdAt", "updatedAt"],
    };

    fn fields() -> Vec<Field<Column>> {
        vec![
            Field::new("createdAt", Column::CreatedAt, FieldKind::Time),
            Field::new("name", Column::Name, FieldKind::Text),
        ]
    }

    fn view(row: &Model) -> Self {
        Self {
            id: row.id,
            name: row.name.clone(),
            note: row.note.clone(),
            order_limit: row.order_limit,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        }
    }

    fn create(input: CreateSupplier) -> Result<ActiveModel> {
        Ok(ActiveModel {
            name: Set(input.name.into()),
            note: Set(input.note.map(String::from)),
            order_limit: Set(None),
            ..Default::default()
        })
    }

    fn update(input: UpdateSupplier) -> Result<ActiveModel> {
        Ok(ActiveModel {
            name: set_if(input.name),
            note: input.note.map_or(NotSet, |text| Set(Some(text.into()))),
            ..Default::default()
        })
    }
}
