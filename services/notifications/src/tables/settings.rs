//! What a person wants to be told, or what a tenant rules about it, as JSON; its id is the person's
//! or the tenant's. Not for what follows from both: see `preferences`.

use kernel::{Id, IdKind, TenantId, Timestamp, UserId};
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications_settings")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SettingsId,
    pub document: String,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Settings);

/// Marks the ids of settings.
#[derive(Debug)]
pub struct Settings;

impl IdKind for Settings {
    const PREFIX: &'static str = "nst";
}

/// Names the settings of a person or of a tenant.
pub(crate) type SettingsId = Id<Settings>;

/// Returns where a person's settings are.
pub(crate) fn of_user(user: UserId) -> SettingsId {
    Id::from_uuid(user.uuid())
}

/// Returns where a tenant's policy is.
pub(crate) fn of_tenant(tenant: TenantId) -> SettingsId {
    Id::from_uuid(tenant.uuid())
}
