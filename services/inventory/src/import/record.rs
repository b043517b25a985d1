//! An import as it is stored, with how far it is. Not for the file: see `source`.

use kernel::{Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use tasks::TaskId;

use super::{FileFormat, Options};

/// Names an import.
pub(super) type ImportId = Id<ImportKind>;

/// Marks the ids of imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportKind;
impl IdKind for ImportKind {
    const PREFIX: &'static str = "imp";
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_import")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<ImportKind>,
    pub options: String,
    pub format: String,
    /// The columns of a CSV file, as JSON.
    pub header: Option<String>,
    pub task_id: TaskId,
    pub bytes: i64,
    pub position: i64,
    pub line: i64,
    pub read: i64,
    pub applied: i64,
    pub unchanged: i64,
    pub failed: i64,
    /// Whether the file was read to its end.
    pub complete: bool,
    pub finished_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, ImportKind);

impl Model {
    pub fn options(&self) -> Options {
        serde_json::from_str(&self.options).unwrap_or_default()
    }

    pub fn format(&self) -> FileFormat {
        if self.format == "json" { FileFormat::Json } else { FileFormat::Csv }
    }

    pub fn header(&self) -> Vec<String> {
        self.header.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}
