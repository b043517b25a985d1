//! Up to where a tenant's events were counted: one row a tenant, whose id is the tenant's. Not for where
//! the dispatcher stands, which is its own business.

use kernel::{Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "analytics_progress")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Progress>,
    /// The position of the last event that was counted.
    pub position: i64,
    /// When that event happened.
    pub occurred_at: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Progress);

/// Marks the ids of progress.
#[derive(Debug)]
pub struct Progress;

impl IdKind for Progress {
    const PREFIX: &'static str = "prg";
}

/// Returns the id of a tenant's only row.
pub(crate) fn id_of(tenant: TenantId) -> Id<Progress> {
    Id::from_uuid(tenant.uuid())
}
