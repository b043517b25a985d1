//! A key of a laboratory or a camera line: it says for which tenant results come, and its secret
//! signs them. The secrets are in its row, sealed, and never in its view. Not for making one.

use kernel::{Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use serde::Serialize;
use utoipa::ToSchema;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_qc_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: QcKeyId,
    pub name: String,
    pub secret_sealed: Vec<u8>,
    pub old_secret_sealed: Option<Vec<u8>>,
    pub old_secret_until: Option<Timestamp>,
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

store::tenant_entity!(Entity, QcKey, "inventory.qc_key", |row: &Model| {
    serde_json::to_value(QcKey::from(row)).unwrap_or_default()
});

/// A key that quality results are posted under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QcKey {
    /// Names the key; posts carry it as `webhook-key-id`.
    pub id: QcKeyId,
    /// Who or what posts under it.
    pub name: String,
    /// Until when the secret before the present one is taken too, if there was one.
    pub old_secret_until: Option<Timestamp>,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Names a key.
pub type QcKeyId = Id<QcKey>;

impl IdKind for QcKey {
    const PREFIX: &'static str = "qck";
}

impl From<&Model> for QcKey {
    fn from(row: &Model) -> Self {
        Self {
            id: row.id,
            name: row.name.clone(),
            old_secret_until: row.old_secret_until,
            version: row.version,
            created_at: row.created_at,
            created_by: row.created_by.clone(),
            updated_at: row.updated_at,
        }
    }
}

/// A key with its new secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QcKeyWithSecret)]
pub(crate) struct WithSecret {
    /// The signing secret, as the Standard Webhooks libraries take it; it is shown only now, and not in the
    /// stored answer of a request that is sent again.
    #[schema(required = false)]
    pub secret: String,
    /// The key.
    #[serde(flatten)]
    pub key: QcKey,
}
