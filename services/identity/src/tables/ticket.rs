//! A ticket that opens one connection: only its hash is stored, it lives for seconds, and it works
//! once, at one path. Not for anything else that a credential is good for.

use kernel::{TenantId, Timestamp, UserId};
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_ticket")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub ticket_hash: Vec<u8>,
    pub tenant_id: TenantId,
    pub user_id: UserId,
    /// The session or the API token that it was got with.
    pub credential: String,
    pub path: String,
    /// When that credential ends by itself, and with it what the ticket opened.
    pub until: Timestamp,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}
