//! The books that calls are entered in: reserved before, settled after. The trait that every book keeps, and what
//! passes between. Not for how a book is kept; `memory` is one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Period, RequestId, Result, TenantId};
use serde::{Deserialize, Serialize};
use web::{CredentialKind, Principal};

use crate::usage::{Price, Spent, Usage};

/// Whom a budget is for: each of these has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// A tenant.
    Tenant,
    /// A person, or a program, in a tenant.
    User,
    /// A credential: a token or a session.
    Credential,
    /// A tenant on a route.
    Route,
    /// A route, whoever calls: what one tenant uses, others lack.
    SharedRoute,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens of every kind.
    Tokens,
    /// Billionths of the currency's major unit.
    Nano,
}

/// What may be used, by whom, in which time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Names it; what was used is counted under this name, also after a reload.
    pub name: Arc<str>,
    /// Whom it is for.
    pub per: Per,
    /// What it counts.
    pub unit: Unit,
    /// How much.
    pub limit: i64,
    /// How long that counts.
    pub period: Period,
}

/// Who calls, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant; nothing where nobody signed in.
    pub tenant: Option<TenantId>,
    /// The person, or the program's credential.
    pub user: Arc<str>,
    /// The credential.
    pub credential: Arc<str>,
    /// The route's name.
    pub route: Arc<str>,
}

impl Caller {
    /// Returns who calls on this route.
    pub fn new(principal: Option<&Principal>, route: Arc<str>) -> Self {
        let nobody = || Arc::<str>::from("nobody");
        let Some(principal) = principal else {
            return Self { tenant: None, user: nobody(), credential: nobody(), route };
        };
        let user = match principal.kind {
            CredentialKind::ApiToken => principal.credential.clone(),
            CredentialKind::Session => principal.actor.to_string().into(),
        };
        Self { tenant: Some(principal.tenant), user, credential: principal.credential.clone(), route }
    }
}

/// Names a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReservationId(pub RequestId);

/// What a call may use at most, asked for before it is made.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names the reservation, so that it can be asked for twice.
    pub id: ReservationId,
    /// Who calls.
    pub caller: Caller,
    /// The model.
    pub model: Arc<str>,
    /// About how many tokens the question has.
    pub question: i64,
    /// How many tokens of answer there must be room for.
    pub least: i64,
    /// How many tokens of answer there should be room for.
    pub most: i64,
    /// What they cost.
    pub price: Price,
    /// The budgets that count.
    pub budgets: Arc<[Budget]>,
    /// When a reservation that nobody settles counts as used.
    pub lease: Duration,
}

impl Wanted {
    /// Returns the usage with so many tokens of answer.
    pub fn usage(&self, answer: i64) -> Usage {
        Usage { input: self.question, output: answer, ..Usage::default() }
    }
}

/// What was reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// How many tokens of answer there is room for, between `least` and `most`.
    pub answer: i64,
}

/// A book of what was used.
///
/// Every method may be called again with the same id: a second `reserve` of what is open changes nothing, and so
/// does a second `settle`.
pub trait Ledger: Send + Sync + 'static {
    /// Reserves, or says that a budget is exhausted.
    fn reserve<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Reservation>>;

    /// Makes room for a call that needs more than was reserved: `false` where there is none.
    fn extend<'a>(&'a self, id: &'a ReservationId, upto: Usage, cost_nano: i64) -> BoxFuture<'a, Result<bool>>;

    /// Enters what was used, and gives back the rest of what was reserved.
    fn settle<'a>(&'a self, id: &'a ReservationId, spent: Spent) -> BoxFuture<'a, Result<()>>;

    /// Gives back all: the call was not made.
    fn release<'a>(&'a self, id: &'a ReservationId) -> BoxFuture<'a, Result<()>>;
}
