//! The record of a call: reserved first, then settled. One row for each, kept for a year and a bit. Not for sums: see
//! `day`.

use kernel::{Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::call::{Amounts, Outcome, Tokens, Unit};
use crate::counter::{CounterId, Held};

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_record")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: RecordId,
    pub state: State,
    pub model: String,
    pub route: String,
    /// The user; PostgreSQL keeps that word for itself.
    pub caller: String,
    pub credential: String,
    pub question: i64,
    pub reserved_tokens: i64,
    pub reserved_nano: i64,
    /// The counters that it is entered in, as JSON.
    pub holds: String,
    pub input: i64,
    pub cached: i64,
    pub cache_write: i64,
    pub output: i64,
    pub cost_nano: i64,
    pub estimated: bool,
    pub outcome: Option<Outcome>,
    pub lease_ends: Timestamp,
    pub settled_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Record);

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, EnumIter, DeriveActiveEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = UsageRecordState)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum State {
    /// It is under way.
    Reserved,
    /// It has ended, and what it used is entered.
    Settled,
    /// Nobody said how it ended: what was reserved is entered as used.
    Lapsed,
}

/// A counter that a call is entered in, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub id: CounterId,
    pub unit: Unit,
}

impl Hold {
    /// Returns what is kept of these counters.
    pub fn written(held: &[Held]) -> Result<String> {
        let holds: Vec<Self> = held.iter().map(|held| Self { id: held.row.id, unit: held.row.unit }).collect();
        Ok(serde_json::json!(holds).to_string())
    }
}

impl Model {
    /// Returns the counters that it is entered in.
    pub(crate) fn held_in(&self) -> Vec<Hold> {
        serde_json::from_str(&self.holds).unwrap_or_default()
    }

    /// Returns what is reserved for it.
    pub(crate) fn reserved(&self) -> Amounts {
        Amounts { tokens: self.reserved_tokens, nano: self.reserved_nano }
    }

    /// Returns how many tokens of answer are reserved.
    pub(crate) fn answer(&self) -> i64 {
        self.reserved_tokens.saturating_sub(self.question).max(0)
    }

    /// Returns the tokens that it used.
    pub(crate) fn tokens(&self) -> Tokens {
        Tokens { input: self.input, cached: self.cached, cache_write: self.cache_write, output: self.output }
    }
}

/// What a call used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageRecord)]
pub struct Record {
    /// Names the call.
    pub id: RecordId,
    /// How far it is.
    pub state: State,
    /// The model.
    pub model: String,
    /// The route that it came in by.
    pub route: String,
    /// The person, or the program's credential.
    pub user: String,
    /// The credential.
    pub credential: String,
    /// Tokens of the question that were read anew.
    pub input_tokens: i64,
    /// Tokens of the question from the provider's cache.
    pub cached_tokens: i64,
    /// Tokens of the question that went into that cache.
    pub cache_write_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// What it cost, in billionths of the currency's major unit.
    pub cost_nano: i64,
    /// Whether any of it is not the provider's own word.
    pub estimated: bool,
    /// How it ended; null while it is under way.
    pub outcome: Option<Outcome>,
    /// How many tokens were reserved.
    pub reserved_tokens: i64,
    /// What those would cost.
    pub reserved_nano: i64,
    /// When it began.
    pub created_at: Timestamp,
    /// When what is reserved counts as used, should nobody say what was.
    pub lease_ends: Timestamp,
    /// When it was entered as used.
    pub settled_at: Option<Timestamp>,
}

/// Names a record, and before that the reservation.
pub type RecordId = Id<Record>;

impl IdKind for Record {
    const PREFIX: &'static str = "usg";
}

impl From<Model> for Record {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            state: row.state,
            model: row.model,
            route: row.route,
            user: row.caller,
            credential: row.credential,
            input_tokens: row.input,
            cached_tokens: row.cached,
            cache_write_tokens: row.cache_write,
            output_tokens: row.output,
            cost_nano: row.cost_nano,
            estimated: row.estimated,
            outcome: row.outcome,
            reserved_tokens: row.reserved_tokens,
            reserved_nano: row.reserved_nano,
            created_at: row.created_at,
            lease_ends: row.lease_ends,
            settled_at: row.settled_at,
        }
    }
}
