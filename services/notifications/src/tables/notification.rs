//! What somebody is told about one object: what happened first, and what was added while its window
//! was open. Not for single occurrences: see `occurrence`.

use kernel::{Id, IdKind, TenantId, Timestamp, UserId};
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications_notification")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: NotificationId,
    pub user_id: UserId,
    pub kind: String,
    /// What it is about: the subject of the events.
    pub object: String,
    pub severe: bool,
    /// Whether it is shown in the app; otherwise it is there for a letter.
    pub in_app: bool,
    pub title: String,
    pub body: String,
    /// How many occurrences it tells of.
    pub count: i64,
    pub number: i64,
    pub read_at: Option<Timestamp>,
    /// Whether more may be added to it, until `closes_at`.
    pub open: bool,
    pub closes_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Notification);

/// Marks the ids of notifications.
#[derive(Debug)]
pub struct Notification;

impl IdKind for Notification {
    const PREFIX: &'static str = "ntf";
}

/// Names a notification.
pub type NotificationId = Id<Notification>;
