//! The ledger of attempts: what was tried, when, and what came back. Not for what follows from it: see
//! `settle`.

use kernel::{Id, IdKind, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use serde::Serialize;
use utoipa::ToSchema;

use crate::delivery::DeliveryId;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks_attempt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AttemptId,
    pub delivery_id: DeliveryId,
    pub number: i64,
    pub status: Option<i64>,
    pub duration_ms: i64,
    pub error: Option<String>,
    pub response: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Attempt);

/// One attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookAttempt)]
pub struct Attempt {
    /// Which attempt of the delivery it was; the first is 1.
    pub number: i64,
    /// The status of the answer, if there was one.
    pub status: Option<i64>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// What went wrong: a code, and more about it.
    pub error: Option<String>,
    /// The beginning of the answer's body, at most 1 KiB.
    pub response: Option<String>,
    /// When it ended.
    pub at: Timestamp,
}

/// Names an attempt.
pub type AttemptId = Id<Attempt>;

impl IdKind for Attempt {
    const PREFIX: &'static str = "wha";
}

impl From<Model> for Attempt {
    fn from(row: Model) -> Self {
        Self {
            number: row.number,
            status: row.status,
            duration_ms: row.duration_ms,
            error: row.error,
            response: row.response,
            at: row.created_at,
        }
    }
}
