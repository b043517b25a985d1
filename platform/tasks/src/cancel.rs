//! Stopping a task on its owner's word, and trying a dead one again. Not for what the work does about it.

use kernel::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Value};
use store::{Writer, not_found};

use crate::queue::{self, QUEUED, TaskId};
use crate::row::{Column, Entity, Model, State};
use crate::saga;

/// Stops a task: one that waits at once, one that runs when it next says how far it is or that it is
/// done. Says how the task stands then, and whether that is new; one that is over stays as it is.
pub async fn cancel(writer: &mut Writer<'_>, id: TaskId) -> Result<(Model, bool)> {
    let present = find(writer, id).await?;
    if present.due_at.is_none() || present.cancelled {
        return Ok((present, false));
    }
    let over = Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Cancelled.name()))
        .col_expr(Column::DueAt, Expr::value(Value::BigInt(None)))
        .col_expr(Column::FinishedAt, Expr::value(writer.now()));
    let asked = Entity::update_many()
        .col_expr(Column::Cancelled, Expr::value(true))
        .filter(Column::Id.eq(id))
        .filter(Column::DueAt.is_not_null());
    match State::named(&present.state) {
        // A saga that waits may have steps to take back: it is woken to do that.
        Some(State::Queued) if present.job == saga::JOB => {
            writer.revise(asked.col_expr(Column::DueAt, Expr::value(writer.now()))).await?;
            writer.announce(QUEUED, &id.to_string());
        }
        Some(State::Queued) => {
            writer.revise(over.filter(Column::Id.eq(id)).filter(Column::DueAt.is_not_null())).await?;
        }
        Some(State::Running) => {
            writer.revise(asked).await?;
        }
        _ => return Ok((present, false)),
    }
    Ok((find(writer, id).await?, true))
}

/// Puts a dead letter in the queue again, with all its attempts.
pub async fn retry(writer: &mut Writer<'_>, id: TaskId) -> Result<Model> {
    let present = find(writer, id).await?;
    let refused = |message: &str| Error::conflict("tasks.not_retryable", message);
    if present.state != State::Failed.name() {
        return Err(refused("only a failed task can be tried again"));
    }
    if present.job == saga::JOB {
        return Err(refused("this saga was taken back: start a new one"));
    }
    if let Some(key) = &present.unique_key {
        writer.alone(&format!("task/{}/{key}", present.job)).await?;
        if queue::unfinished(writer, &present.job, key).await?.is_some() {
            return Err(refused("another task with the same unique key waits or runs"));
        }
    }
    let again = Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Queued.name()))
        .col_expr(Column::Attempt, Expr::value(0))
        .col_expr(Column::Cancelled, Expr::value(false))
        .col_expr(Column::RunAt, Expr::value(writer.now()))
        .col_expr(Column::DueAt, Expr::value(writer.now()))
        .col_expr(Column::FinishedAt, Expr::value(Value::BigInt(None)));
    writer.revise(again.filter(Column::Id.eq(id)).filter(Column::State.eq(State::Failed.name()))).await?;
    writer.announce(QUEUED, &id.to_string());
    find(writer, id).await
}

/// Locks the task, so that no worker changes it meanwhile.
async fn find(writer: &Writer<'_>, id: TaskId) -> Result<Model> {
    writer.select_with_deleted::<Entity>().id(id).lock().one().await?.ok_or_else(not_found)
}
