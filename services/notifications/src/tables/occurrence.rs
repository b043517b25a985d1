//! One thing that somebody is told of, once: the key keeps a second telling out. Not for how it is
//! shown.

use kernel::{Id, IdKind, TenantId, Timestamp, UserId};
use sea_orm::entity::prelude::*;

use crate::tables::notification::NotificationId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications_occurrence")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Occurrence>,
    pub notification_id: NotificationId,
    pub user_id: UserId,
    pub dedupe_key: String,
    pub title: String,
    pub body: String,
    pub occurred_at: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Occurrence);

/// Marks the ids of occurrences.
#[derive(Debug)]
pub struct Occurrence;

impl IdKind for Occurrence {
    const PREFIX: &'static str = "noc";
}
