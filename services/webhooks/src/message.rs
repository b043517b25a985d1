//! What is sent: the bytes of one event, written once, for all endpoints and all attempts. Not for who
//! gets it.

use kernel::{Id, Result, TenantId, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use store::{EventKind, EventRow, Writer};

/// A row of the table; its id is the event's.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks_message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MessageId,
    pub kind: String,
    pub body: String,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, EventKind);

/// Names a message: the event's id, which is also its `webhook-id`.
pub type MessageId = Id<EventKind>;

/// Writes an event down as it will be sent, unless it is there already.
pub(crate) async fn keep(writer: &mut Writer<'_>, event: &EventRow) -> Result<()> {
    if writer.select_with_deleted::<Entity>().id(event.id).one().await?.is_some() {
        return Ok(());
    }
    let row = ActiveModel {
        id: Set(event.id),
        kind: Set(event.kind.clone()),
        body: Set(events::CloudEvent::of(event).json()),
        ..Default::default()
    };
    writer.append::<Entity>(row).await.map(|_| ())
}
