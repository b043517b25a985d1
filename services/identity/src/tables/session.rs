//! A session: one sign-in of one person to one tenant, on one device. It holds the seed of its
//! refresh tokens and how far they have come. Deleted means revoked. Not for API tokens.

use kernel::{Id, IdKind, TenantId, Timestamp, UserId};
use sea_orm::entity::prelude::*;
use serde_json::json;

use crate::credentials::refresh_token::Generations;

/// Marks the ids of sessions.
#[derive(Debug)]
pub struct Session;
impl IdKind for Session {
    const PREFIX: &'static str = "ses";
}

/// Names a session.
pub type SessionId = Id<Session>;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    pub user_id: UserId,
    pub method: String,
    pub network: Option<String>,
    pub user_agent: Option<String>,
    pub expires_at: Timestamp,
    pub idle_expires_at: Timestamp,
    pub last_used_at: Timestamp,
    pub elevation: Option<String>,
    pub seed_sealed: Vec<u8>,
    pub generation: i64,
    pub window_generation: i64,
    pub window_began_at: Timestamp,
    pub earlier_generation: i64,
    pub created_at: Timestamp,
    pub created_by: String,
    pub version: i64,
    pub updated_at: Timestamp,
    pub updated_by: String,
    pub deleted_at: Option<Timestamp>,
}

impl Model {
    pub(crate) fn generations(&self) -> Generations {
        Generations {
            current: self.generation,
            window: self.window_generation,
            window_began: self.window_began_at,
            earlier: self.earlier_generation,
        }
    }

    /// Says whether it can still be refreshed.
    pub(crate) fn stands(&self, now: Timestamp) -> bool {
        self.deleted_at.is_none() && self.expires_at > now && self.idle_expires_at > now
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_entity!(Entity, Session, "identity.session", |row: &Model| json!({
    "user": row.user_id, "method": row.method, "network": row.network,
}));
