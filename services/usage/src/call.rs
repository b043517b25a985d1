//! What passes between this service and whoever meters calls: who calls, what a call may use, what it used. Plain
//! data. Not for how it is kept.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Period, Rate, TenantId};
use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::record::RecordId;

/// How many tokens a price is for.
const PRICED: i128 = 1_000_000;

/// Whom a budget is for: each of these has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, EnumIter, DeriveActiveEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = UsageBudgetPer)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Per {
    /// The organisation.
    Tenant,
    /// A person, or a program, in it.
    User,
    /// A credential: a token or a session.
    Credential,
    /// The organisation on a route.
    Route,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, EnumIter, DeriveActiveEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = UsageBudgetUnit)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Unit {
    /// Tokens of every kind.
    Tokens,
    /// Billionths of the currency's major unit.
    Nano,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, EnumIter, DeriveActiveEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = UsageOutcome)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Outcome {
    /// The origin said all it had to say.
    Completed,
    /// The client went away.
    Aborted,
    /// The budget ended.
    CutOff,
    /// The origin broke off, or fell silent.
    Failed,
    /// Nobody said how; the reservation's lease ended.
    Lapsed,
}

/// A budget that the gateway's file declares; a tenant's own are rows of this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Names it; what was used is counted under this name.
    pub name: Arc<str>,
    /// Whom it is for.
    pub per: Per,
    /// What it counts.
    pub unit: Unit,
    /// How long that counts.
    pub period: Period,
    /// How much there is.
    pub most: i64,
}

/// What a million tokens cost, in billionths of the currency's major unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Of the question.
    pub input: Rate,
    /// Of the answer.
    pub output: Rate,
}

impl Price {
    /// Returns what a question and an answer cost, rounded once, up.
    pub fn cost(&self, question: i64, answer: i64) -> i64 {
        let part = |tokens: i64, rate: Rate| i128::from(tokens.max(0)) * i128::from(rate.0.max(0));
        let sum = part(question, self.input) + part(answer, self.output);
        i64::try_from((sum + PRICED - 1) / PRICED).unwrap_or(i64::MAX)
    }

    /// Returns how many tokens of answer so much pays for.
    pub(crate) fn answer_for(&self, nano: i64) -> i64 {
        if self.output.0 <= 0 {
            return i64::MAX;
        }
        i64::try_from(i128::from(nano.max(0)) * PRICED / i128::from(self.output.0)).unwrap_or(i64::MAX)
    }
}

/// What a call may use at most, asked for before it is made.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names the reservation, so that it can be asked for twice; later the record's id.
    pub id: RecordId,
    /// The tenant.
    pub tenant: TenantId,
    /// The person, or the program's credential.
    pub user: Arc<str>,
    /// The credential.
    pub credential: Arc<str>,
    /// The route.
    pub route: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// About how many tokens the question has.
    pub question: i64,
    /// How many tokens of answer there must be room for.
    pub least: i64,
    /// How many there should be room for.
    pub most: i64,
    /// What they cost.
    pub price: Price,
    /// The budgets that the gateway declares; the tenant's own come to these.
    pub limits: Vec<Limit>,
    /// When a reservation that nobody settles counts as used.
    pub lease: Duration,
}

/// What became of asking for a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is reserved.
    Granted {
        /// How many tokens of answer there is room for, between `least` and `most`.
        answer: i64,
    },
    /// It does not fit into a budget; nothing is reserved.
    Exhausted(Exhausted),
}

/// Which budget had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The budget's name.
    pub budget: String,
    /// How long what was used counts.
    pub period: Period,
    /// In how many seconds it gives something back, where that is worth waiting for.
    pub retry_after: Option<u32>,
}

/// Tokens by kind; each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the question, read anew.
    pub input: i64,
    /// Of the question, from the provider's cache.
    pub cached: i64,
    /// Of the question, put into that cache.
    pub cache_write: i64,
    /// Of the answer.
    pub output: i64,
}

impl Tokens {
    /// Returns all of them.
    pub fn total(self) -> i64 {
        [self.input, self.cached, self.cache_write, self.output].into_iter().fold(0, i64::saturating_add)
    }
}

/// What a call used in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The tokens.
    pub tokens: Tokens,
    /// What they cost, in billionths.
    pub cost_nano: i64,
    /// Whether any of it is not the provider's own word.
    pub estimated: bool,
    /// How it ended.
    pub outcome: Outcome,
}

/// What is reserved or used, in both units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub tokens: i64,
    pub nano: i64,
}

impl Amounts {
    /// Returns the one that a budget counts.
    pub fn of(self, unit: Unit) -> i64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Nano => self.nano,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_once_and_up() {
        let price = Price { input: Rate(2_500_000_000), output: Rate(10_000_000_001) };
        assert_eq!(price.cost(1_000, 7), 2_570_001);
        assert_eq!((price.cost(0, 0), price.cost(-5, 0)), (0, 0));
        assert_eq!(price.cost(i64::MAX, i64::MAX), i64::MAX, "no overflow");
        assert_eq!((price.answer_for(70_001), price.answer_for(-1)), (7, 0));
        assert_eq!(Price::default().answer_for(0), i64::MAX);
    }
}
