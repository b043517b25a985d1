//! A member of a tenant as the identity service's events tell it, with the counts of the person's
//! notifications. Its id is the person's. Not for names and addresses, which are asked for when a
//! letter leaves.

use kernel::{TenantId, Timestamp, User, UserId};
use sea_orm::entity::prelude::*;
use service::Role;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications_recipient")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// What the person is in the tenant; nothing for who was a member.
    pub role: Option<String>,
    /// The number of the newest notification; each that comes or grows gets the next.
    pub last_number: i64,
    /// Everything up to this number was read at once.
    pub read_up_to: i64,
    pub read_up_to_at: Option<Timestamp>,
    /// How many are unread: can be counted anew from the notifications.
    pub unread: i64,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, User);

impl Model {
    /// Returns what the person is in the tenant.
    pub(crate) fn role(&self) -> Option<Role> {
        self.role.as_deref().and_then(Role::named)
    }
}
