//! Creates a budget, of which a tenant has so many at most. Not for the other standard verbs.

use axum::extract::State;
use kernel::{Answer, Error};
use service::{App, Operation, Resource as _};
use web::{Body, Caller};

use crate::budget::{self, Budget, BudgetInput, MOST};

/// Returns `POST /api/v1/usage/budgets`.
pub(crate) fn operation() -> Operation {
    Operation::post(Budget::SPEC.path, "usage_create_budget", create)
        .permission("usage.budgets.write")
        .describe(
            "Create a budget",
            "Gives the new budget with its ETag and writes `usage.budget.created`. It counts what is used from now on, \
             and holds beside those that the gateway's file declares: a call has to fit into all. 409 \
             `usage.too_many_budgets` where there are 50.",
        )
        .takes::<BudgetInput>()
        .gives::<Budget>(201, "Created")
        .problems(&[400, 409, 415])
}

async fn create(State(app): State<App>, Caller(mut ctx): Caller, Body(input): Body<BudgetInput>) -> web::Result {
    let row = Budget::create(input)?;
    let mut writer = app.store.write(&mut ctx).await?;
    writer.alone("usage.budgets").await?;
    if writer.select::<budget::Entity>().limit(MOST).all().await?.len() as u64 >= MOST {
        let message = format!("there are {MOST} budgets: delete those that are not needed");
        return Err(Error::conflict("usage.too_many_budgets", message).into());
    }
    let row = writer.insert::<budget::Entity>(row).await?;
    let location = Budget::SPEC.item_path.replace("{id}", &row.id.to_string());
    let answer = Answer::created(location, &Budget::view(&row))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}
