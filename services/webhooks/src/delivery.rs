//! A delivery: one message on its way to one endpoint, and how it ended. Not for single attempts.

use kernel::{Error, Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use serde::{Deserialize, Serialize};
use store::{EventRow, Writer};
use utoipa::ToSchema;

use crate::endpoint::EndpointId;
use crate::message::{self, MessageId};
use crate::queue;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks_delivery")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    pub endpoint_id: EndpointId,
    pub message_id: MessageId,
    pub kind: String,
    pub state: String,
    /// How many attempts there were in all; the ledger's last number.
    pub attempts: i64,
    /// How many there were since it was last sent on its way: the place in the schedule.
    pub tries: i64,
    pub next_at: Option<Timestamp>,
    pub status: Option<i64>,
    pub error: Option<String>,
    pub ended_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Delivery);

/// How a delivery is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WebhookDeliveryState)]
pub enum State {
    /// It is on its way, or waits for its next attempt.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Failed,
}

impl State {
    /// Returns the state as it is stored.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    fn named(name: &str) -> Result<Self> {
        let found = [Self::Pending, Self::Delivered, Self::Failed].into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| Error::internal(format!("a delivery is {name}")))
    }
}

/// One message to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookDelivery)]
pub struct Delivery {
    /// Names the delivery.
    pub id: DeliveryId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// The event that it tells: the `webhook-id` of its requests, and the `id` in their bodies.
    pub event_id: MessageId,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it is doing.
    pub state: State,
    /// How many attempts there were.
    pub attempts: i64,
    /// When the next one is, at the earliest.
    pub next_at: Option<Timestamp>,
    /// The status of the last answer.
    pub status: Option<i64>,
    /// What went wrong last: a code, and more about it.
    pub error: Option<String>,
    /// When it was queued first.
    pub created_at: Timestamp,
    /// When it was taken or given up.
    pub ended_at: Option<Timestamp>,
}

/// Names a delivery.
pub type DeliveryId = Id<Delivery>;

impl IdKind for Delivery {
    const PREFIX: &'static str = "whd";
}

impl Delivery {
    /// Returns the public view of a row.
    pub(crate) fn view(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id,
            endpoint_id: row.endpoint_id,
            event_id: row.message_id,
            kind: row.kind,
            state: State::named(&row.state)?,
            attempts: row.attempts,
            next_at: row.next_at,
            status: row.status,
            error: row.error,
            created_at: row.created_at,
            ended_at: row.ended_at,
        })
    }
}

/// Sends an event on its way to an endpoint; one that is on its way already, or was taken, stays as it
/// is, and one that was given up stays so unless `again`. Says whether it is on its way anew.
pub(crate) async fn send(writer: &mut Writer<'_>, endpoint: EndpointId, event: &EventRow, again: bool) -> Result<bool> {
    let query = writer.select_with_deleted::<Entity>().filter(Column::EndpointId.eq(endpoint));
    match query.filter(Column::MessageId.eq(event.id)).one().await? {
        Some(row) if again && row.state == State::Failed.name() => resend(writer, row).await.map(|_| true),
        Some(_) => Ok(false),
        None => {
            message::keep(writer, event).await?;
            let row = ActiveModel {
                endpoint_id: Set(endpoint),
                message_id: Set(event.id),
                kind: Set(event.kind.clone()),
                state: Set(State::Pending.name().to_owned()),
                attempts: Set(0),
                tries: Set(0),
                next_at: Set(Some(writer.now())),
                status: Set(None),
                error: Set(None),
                ended_at: Set(None),
                ..Default::default()
            };
            let row = writer.append::<Entity>(row).await?;
            queue::enqueue(writer, &row, None).await?;
            Ok(true)
        }
    }
}

/// Sends a delivery that has ended on its way again, from the beginning of the schedule.
pub(crate) async fn resend(writer: &mut Writer<'_>, row: Model) -> Result<Model> {
    let now = writer.now();
    let update = Entity::update_many()
        .col_expr(Column::State, Expr::val(State::Pending.name()))
        .col_expr(Column::Tries, Expr::val(0_i64))
        .col_expr(Column::NextAt, Expr::val(now))
        .col_expr(Column::EndedAt, Expr::val(None::<i64>))
        .filter(Column::Id.eq(row.id))
        .filter(Column::State.ne(State::Pending.name()));
    if writer.revise(update).await? == 0 {
        return Err(Error::conflict("webhooks.delivery_pending", "this delivery is on its way already"));
    }
    queue::enqueue(writer, &row, None).await?;
    Ok(Model { state: State::Pending.name().to_owned(), tries: 0, next_at: Some(now), ended_at: None, ..row })
}
