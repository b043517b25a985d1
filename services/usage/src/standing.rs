//! A budget with how far it is used up. Not for single calls: see `records`.

use axum::extract::State;
use kernel::{Account, Answer, Timestamp};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::Order;
use serde::Serialize;
use service::{App, Operation, Resource as _};
use store::not_found;
use utoipa::ToSchema;
use web::{Caller, Path};

use crate::budget::{self, Budget, BudgetId};
use crate::counter::{Column, Entity, Model};

/// How many of those that it is for are shown.
const SHOWN: u64 = 100;

/// What one of those that a budget is for has used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageStanding)]
struct Standing {
    /// The user, credential or route; null where the organisation has one budget.
    subject: Option<String>,
    /// What was used in the present period, in the budget's unit.
    used: i64,
    /// What calls under way may still use.
    reserved: i64,
    /// What is left.
    left: i64,
}

/// A budget, and how far it is used up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageBudgetInFull)]
struct BudgetInFull {
    /// The budget.
    #[serde(flatten)]
    budget: Budget,
    /// What each of those that it is for has used, the most first; at most 100.
    standing: Vec<Standing>,
}

/// Returns `GET /api/v1/usage/budgets/{id}`.
pub(crate) fn operation() -> Operation {
    Operation::get(Budget::SPEC.item_path, "usage_get_budget", get)
        .path::<BudgetId>("id")
        .permission("usage.budgets.read")
        .describe(
            "Get a budget",
            "Gives it with its ETag, and with what those that it is for have used of it and have left.",
        )
        .gives::<BudgetInFull>(200, "Found")
        .problems(&[400, 404])
}

async fn get(State(app): State<App>, Caller(ctx): Caller, Path(id): Path<BudgetId>) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let row = reader.select::<budget::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    let counters = reader.select_with_deleted::<Entity>().filter(Column::Budget.eq(id.to_string()));
    let counters = counters.order_by(Column::Used, Order::Desc).limit(SHOWN).all().await?;
    reader.close().await?;
    let now = app.now();
    let counts = |counter: &&Model| (counter.per, counter.unit, counter.period) == (row.per, row.unit, row.period);
    let standing = counters.iter().filter(counts).map(|counter| standing(counter, row.most, now)).collect();
    let found = BudgetInFull { budget: Budget::view(&row), standing };
    Ok(Answer::ok(&found)?.version(row.version).into())
}

fn standing(counter: &Model, most: i64, now: Timestamp) -> Standing {
    let mut account = Account { used: counter.used, reserved: counter.reserved, at: counter.at };
    account.roll(counter.period, most, now);
    let (subject, left) = (counter.subject.clone(), account.left(most));
    Standing { subject, used: account.used, reserved: account.reserved, left }
}
