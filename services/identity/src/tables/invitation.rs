//! An invitation of an e-mail address to a tenant, with a role. Deleted means withdrawn. Not for
//! making the member: see `invitations`.

use kernel::{Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use serde_json::json;

/// Marks the ids of invitations.
#[derive(Debug)]
pub struct Invitation;
impl IdKind for Invitation {
    const PREFIX: &'static str = "inv";
}

/// Names an invitation.
pub type InvitationId = Id<Invitation>;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_invitation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InvitationId,
    pub email: String,
    pub role: String,
    pub code_hash: Vec<u8>,
    pub expires_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
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

// Events outlive people: they hold no address.
store::tenant_entity!(Entity, Invitation, "identity.invitation", |row: &Model| json!({ "role": row.role }));
