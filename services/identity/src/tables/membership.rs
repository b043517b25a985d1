//! What a person is in a tenant: one role. Its id is the person's, so a tenant's events name people.
//! Not for finer permissions, which will refine the role.

use kernel::{TenantId, Timestamp, User, UserId};
use sea_orm::entity::prelude::*;
use serde_json::json;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_membership")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    pub user_id: UserId,
    pub role: String,
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

store::tenant_entity!(Entity, User, "identity.user", |row: &Model| json!({ "role": row.role }));
