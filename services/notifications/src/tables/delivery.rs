//! A letter about a notification, and what became of it. Not for the address, which is asked for when
//! it leaves.

use kernel::{Id, IdKind, TenantId, Timestamp, UserId};
use sea_orm::entity::prelude::*;

use crate::tables::notification::NotificationId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications_delivery")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    pub notification_id: NotificationId,
    pub user_id: UserId,
    pub channel: String,
    pub state: String,
    /// Why it was skipped or failed, or what the last attempt met.
    pub reason: Option<String>,
    pub due_at: Timestamp,
    pub attempts: i64,
    pub sent_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Delivery);

/// Waits for its time, or for another attempt.
pub(crate) const WAITING: &str = "waiting";
/// An attempt has begun.
pub(crate) const SENDING: &str = "sending";
/// The mail server has it.
pub(crate) const SENT: &str = "sent";
/// It was not wanted any more.
pub(crate) const SKIPPED: &str = "skipped";
/// It will never leave.
pub(crate) const FAILED: &str = "failed";

/// Marks the ids of deliveries.
#[derive(Debug)]
pub struct Delivery;

impl IdKind for Delivery {
    const PREFIX: &'static str = "ndl";
}

/// Names a delivery.
pub type DeliveryId = Id<Delivery>;
