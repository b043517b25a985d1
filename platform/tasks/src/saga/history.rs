//! What is on disk of a saga, and the transactions that move it on. Each holds the task's lease against
//! the row, so an executor whose lease was taken changes nothing. Not for deciding what comes next.

use std::collections::BTreeMap;

use kernel::{Answer, Error, Result, printable};
use sea_orm::sea_query::{Expr, Order};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Set, Value as Sql};
use serde_json::Value;
use store::{Event, Writer};

use super::row::step::{self, Model as StepRow};
use super::row::{Column, Entity, Model, SagaState};
use crate::row::{Column as TaskColumn, Entity as TaskEntity, State};
use crate::run::{self, Run};

/// Whether a step is taken or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Run,
    Undo,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Undo => "undo",
        }
    }
}

/// What is known of a step in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Done,
    /// It was begun, and nobody knows how it ended.
    Unknown,
    /// It was refused and has had no effect, or could not be taken back yet.
    Failed,
}

impl Known {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// A saga as it is on disk.
pub(super) struct History {
    pub saga: Model,
    steps: Vec<StepRow>,
}

impl History {
    /// Reads what a task's saga has come to.
    pub async fn read(run: &Run) -> Result<Self> {
        let ctx = run.ctx();
        let reader = run.store().read(&ctx).await?;
        let saga = reader.select_with_deleted::<Entity>().id(run.id()).one().await?;
        let steps = reader.select_with_deleted::<step::Entity>().filter(step::Column::SagaId.eq(run.id()));
        let steps = steps.order_by(step::Column::Id, Order::Asc).all().await?;
        reader.close().await?;
        let saga = saga.ok_or_else(|| run.give_up(Error::internal(format!("{} has lost its saga", run.id()))))?;
        Ok(Self { saga, steps })
    }

    fn row(&self, step: &str, direction: Direction) -> Option<&StepRow> {
        self.steps.iter().find(|row| row.step == step && row.direction == direction.name())
    }

    /// Returns what is known of a step; nothing when it was never meant.
    pub fn known(&self, step: &str, direction: Direction) -> Option<Known> {
        self.row(step, direction).map(|row| match row.state.as_str() {
            "done" => Known::Done,
            "failed" => Known::Failed,
            _ => Known::Unknown,
        })
    }

    /// Returns what the steps gave.
    pub fn results(&self) -> BTreeMap<String, Value> {
        let results = self.steps.iter().filter_map(|row| Some((row.step.clone(), row.result.as_deref()?)));
        results.map(|(step, text)| (step, serde_json::from_str(text).unwrap_or_default())).collect()
    }

    /// Returns the error that the saga was taken back for.
    pub fn error(&self) -> (String, String) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (text(&self.saga.error_code), text(&self.saga.error))
    }

    /// Writes down that a step is about to be taken; says whether the owner wants the saga to stop.
    pub async fn intend(&mut self, run: &Run, step: &'static str, direction: Direction) -> Result<bool> {
        let present = self.row(step, direction).map(|row| row.id);
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        let stop = hold(&mut writer, run).await?;
        // A step that was begun is called once more, and what was known of it before counts no longer.
        if stop && direction == Direction::Run && present.is_none() {
            writer.roll_back().await?;
            return Ok(true);
        }
        match present {
            Some(id) => {
                let again = step::Entity::update_many()
                    .col_expr(step::Column::State, Expr::value("intended"))
                    .col_expr(step::Column::StartedAt, Expr::value(writer.now()));
                writer.revise(again.filter(step::Column::Id.eq(id))).await?;
            }
            None => {
                let model = step::ActiveModel {
                    saga_id: Set(run.id()),
                    step: Set(step.to_owned()),
                    direction: Set(direction.name().to_owned()),
                    state: Set("intended".to_owned()),
                    started_at: Set(writer.now()),
                    ..step::ActiveModel::default()
                };
                let row = writer.append::<step::Entity>(model).await?;
                self.steps.push(row);
            }
        }
        writer.commit(Answer::no_content()).await?;
        Ok(stop)
    }

    /// Writes down how a step went, and how often the present one has failed in a row.
    pub async fn note(
        &mut self,
        run: &Run,
        step: &'static str,
        direction: Direction,
        known: Known,
        result: Result<Option<Value>, &Error>,
    ) -> Result<()> {
        let Some(place) = self.steps.iter().position(|row| row.step == step && row.direction == direction.name())
        else {
            return Err(Error::internal(format!("the step {step} was not meant before it was taken")));
        };
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        hold(&mut writer, run).await?;
        let (value, code, message) = match &result {
            Ok(value) => (value.as_ref().map(Value::to_string), None, None),
            Err(error) => (None, Some(error.code().to_owned()), Some(printable(error.message()))),
        };
        let row = &mut self.steps[place];
        row.state = known.name().to_owned();
        row.finished_at = (known != Known::Unknown).then_some(writer.now());
        (row.result, row.error_code, row.error) = (value, code, message);
        let change = step::ActiveModel {
            state: Set(row.state.clone()),
            finished_at: Set(row.finished_at),
            result: Set(row.result.clone()),
            error_code: Set(row.error_code.clone()),
            error: Set(row.error.clone()),
            ..step::ActiveModel::default()
        };
        writer.revise(step::Entity::update_many().set(change).filter(step::Column::Id.eq(row.id))).await?;
        let failures = if result.is_ok() { 0 } else { self.saga.failures + 1 };
        if failures != self.saga.failures {
            let count = Entity::update_many().col_expr(Column::Failures, Expr::value(failures));
            writer.revise(count.filter(Column::Id.eq(run.id()))).await?;
        }
        writer.commit(Answer::no_content()).await?;
        self.saga.failures = failures;
        Ok(())
    }

    /// Writes down that the saga is taken back from now on, and why.
    pub async fn turn_back(&mut self, run: &Run, error: &Error) -> Result<()> {
        let turned = |update: sea_orm::UpdateMany<Entity>| {
            update
                .col_expr(Column::Failures, Expr::value(0))
                .col_expr(Column::ErrorCode, Expr::value(error.code()))
                .col_expr(Column::Error, Expr::value(printable(error.message())))
        };
        self.become_state(run, SagaState::Compensating, turned, None).await?;
        self.saga.failures = 0;
        (self.saga.error_code, self.saga.error) = (Some(error.code().to_owned()), Some(printable(error.message())));
        Ok(())
    }

    /// Writes down that taking it back fails again and again, and calls for help.
    pub async fn be_stuck(&mut self, run: &Run, step: &str, error: &Error) -> Result<()> {
        let data = serde_json::json!({
            "title": format!("{} is stuck", self.saga.name),
            "message": format!(
                "A change in several steps failed, and taking its step {step} back fails too. It is tried again and \
                 again; portico tasks show {} tells more.",
                run.id()
            ),
            "dedupeKey": run.id(),
            "saga": self.saga.name,
            "step": step,
            "code": error.code(),
        });
        let alert = Event::about("system.alert.raised", run.id(), data);
        self.become_state(run, SagaState::Stuck, |update| update, Some(alert)).await
    }

    async fn become_state(
        &mut self,
        run: &Run,
        state: SagaState,
        more: impl FnOnce(sea_orm::UpdateMany<Entity>) -> sea_orm::UpdateMany<Entity>,
        event: Option<Event>,
    ) -> Result<()> {
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        hold(&mut writer, run).await?;
        let update = more(Entity::update_many().col_expr(Column::State, Expr::value(state.name())));
        writer.revise(update.filter(Column::Id.eq(run.id()))).await?;
        if let Some(event) = event {
            writer.record(event).await?;
        }
        writer.commit(Answer::no_content()).await?;
        self.saga.state = state.name().to_owned();
        Ok(())
    }

    /// Ends the saga and its task well.
    pub async fn complete(&self, run: &Run, result: Value) -> Result<()> {
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        run.complete_late(&mut writer, result).await?;
        let completed = Entity::update_many().col_expr(Column::State, Expr::value(SagaState::Completed.name()));
        writer.revise(completed.filter(Column::Id.eq(run.id()))).await?;
        writer.commit(Answer::no_content()).await.map(|_| ())
    }

    /// Ends the saga and its task after everything was taken back.
    pub async fn compensated(&self, run: &Run) -> Result<()> {
        let (code, message) = self.error();
        let state = if code == run::cancelled().code() { State::Cancelled } else { State::Failed };
        let mut ctx = run.ctx();
        let mut writer = run.store().write(&mut ctx).await?;
        let end = run
            .held()
            .col_expr(TaskColumn::State, Expr::value(state.name()))
            .col_expr(TaskColumn::DueAt, Expr::value(Sql::BigInt(None)))
            .col_expr(TaskColumn::FinishedAt, Expr::value(writer.now()))
            .col_expr(TaskColumn::ErrorCode, Expr::value(code.as_str()))
            .col_expr(TaskColumn::Error, Expr::value(message.as_str()));
        if writer.revise(end).await? != 1 {
            return Err(run::lease_lost());
        }
        let back = Entity::update_many().col_expr(Column::State, Expr::value(SagaState::Compensated.name()));
        writer.revise(back.filter(Column::Id.eq(run.id()))).await?;
        if state == State::Failed {
            let data = serde_json::json!({
                "job": self.saga.name, "attempts": run.attempt(), "code": code, "message": message,
            });
            writer.record(Event::about("tasks.task.failed", run.id(), data)).await?;
        }
        writer.commit(Answer::no_content()).await.map(|_| ())
    }
}

/// Keeps the lease in this transaction, and says whether the owner wants the saga to stop. Fails when
/// another worker has it.
async fn hold(writer: &mut Writer<'_>, run: &Run) -> Result<bool> {
    let until = writer.now().plus(run.lease);
    if writer.revise(run.held().col_expr(TaskColumn::DueAt, Expr::value(until))).await? != 1 {
        return Err(run::lease_lost());
    }
    let task = writer.select_with_deleted::<TaskEntity>().id(run.id()).one().await?;
    Ok(task.is_some_and(|task| task.cancelled))
}
