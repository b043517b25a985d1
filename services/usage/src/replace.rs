//! Replaces a budget: what was used stays counted, and people are told anew when it is exhausted again. Not for the
//! other standard verbs.

use axum::extract::State;
use http::Method;
use kernel::Answer;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use service::{App, Operation, Resource as _};
use web::{Body, Caller, IfMatch, Path};

use crate::budget::{self, Budget, BudgetId, BudgetInput};
use crate::counter;

/// Returns `PUT /api/v1/usage/budgets/{id}`.
pub(crate) fn operation() -> Operation {
    Operation::new(Method::PUT, Budget::SPEC.item_path, "usage_update_budget", replace)
        .path::<BudgetId>("id")
        .permission("usage.budgets.write")
        .describe(
            "Replace a budget",
            "Sets all of it. What was used in the present period stays counted, unless the budget now counts something \
             else or over another time. With `If-Match`, only if that is still the current version, else 412. Writes \
             `usage.budget.updated`.",
        )
        .takes::<BudgetInput>()
        .gives::<Budget>(200, "Changed")
        .problems(&[400, 404, 409, 412, 415])
}

async fn replace(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<BudgetId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<BudgetInput>,
) -> web::Result {
    let changes = Budget::update(input)?;
    let mut writer = app.store.write(&mut ctx).await?;
    let row = writer.update::<budget::Entity>(id, expected, changes).await?;
    // Calls under way may make use of it at once.
    let counters = counter::Entity::update_many()
        .col_expr(counter::Column::Most, Expr::val(row.most))
        .col_expr(counter::Column::Told, Expr::val(None::<i64>))
        .filter(counter::Column::Budget.eq(row.id.to_string()))
        .filter(counter::Column::Unit.eq(row.unit))
        .filter(counter::Column::Period.eq(row.period));
    writer.revise(counters).await?;
    let answer = Answer::ok(&Budget::view(&row))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}
