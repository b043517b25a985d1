//! One attempt at a task, as the work sees it. Not for leasing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::{Actor, Ctx, CtxParts, Error, PermissionSet, RequestId, Result, TenantId};
use sea_orm::sea_query::{Expr, IntoCondition as _};
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, UpdateMany, Value};
use serde::de::DeserializeOwned;
use store::{Purpose, Store, Writer, fault};

use crate::queries::{self, Lease};
use crate::queue::TaskId;
use crate::row::{Column, Entity, State};

/// One attempt at a task.
pub struct Run {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) job: &'static str,
    /// The number of the lease, which everything that is written holds against the row's.
    pub(crate) fence: i64,
    pub(crate) payload: String,
    pub(crate) correlation_id: String,
    pub(crate) lease: Duration,
    pub(crate) given_up: AtomicBool,
}

impl Run {
    /// Returns the data.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns whose task it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Returns which attempt this is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the key that effects elsewhere carry; the same in every attempt.
    pub fn key(&self) -> String {
        self.id.to_string()
    }

    /// Returns a context in which the product acts for the task's tenant, in the chain of requests that
    /// the task belongs to.
    pub fn ctx(&self) -> Ctx {
        context(self.tenant, self.id, &self.correlation_id)
    }

    /// Returns what to work on.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        let read = serde_json::from_str(&self.payload);
        // It reads no better the next time.
        read.map_err(|error| self.give_up(Error::internal(format!("a payload of {}", self.job)).source_error(error)))
    }

    /// Shows the owner how far it is, and keeps the lease. Fails when the task was cancelled or another
    /// worker has it: stop then. Not while a Writer is open.
    pub async fn progress(&mut self, done: u64, of: Option<u64>, note: &str) -> Result<()> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let system = self.store.system(Purpose::Tasks).await?;
        let until = system.now().plus(self.lease);
        let set = "progress_done = ?, progress_of = ?, progress_note = ?, due_at = ?";
        let values: Vec<Value> = vec![number(done).into(), of.map(number).into(), note.into(), until.into()];
        let kept = system.execute(&queries::change(self.lease(), set, values)).await?;
        let stop = queries::asked_to_stop(self.lease());
        let stop = kept == 1 && !system.rows(&stop).await?.is_empty();
        system.commit().await?;
        match (kept, stop) {
            (1, false) => Ok(()),
            (1, true) => Err(cancelled()),
            _ => Err(lease_lost()),
        }
    }

    /// Ends the task in the transaction of its effect. When the task was cancelled or another worker has
    /// it, this is an error, and the transaction can only be undone.
    pub async fn complete(&self, writer: &mut Writer<'_>, result: serde_json::Value) -> Result<()> {
        self.end(writer, result, Column::Cancelled.eq(false).into_condition()).await
    }

    /// Ends the task even if it was cancelled: what it was to do has happened.
    pub(crate) async fn complete_late(&self, writer: &mut Writer<'_>, result: serde_json::Value) -> Result<()> {
        self.end(writer, result, Condition::all()).await
    }

    async fn end(&self, writer: &mut Writer<'_>, result: serde_json::Value, only_if: Condition) -> Result<()> {
        fault::point_at("task.before_complete", self.job).await?;
        let end = self
            .held()
            .col_expr(Column::State, Expr::value(State::Done.name()))
            .col_expr(Column::DueAt, Expr::value(Value::BigInt(None)))
            .col_expr(Column::Error, Expr::value(Value::String(None)))
            .col_expr(Column::ErrorCode, Expr::value(Value::String(None)))
            .col_expr(Column::FinishedAt, Expr::value(writer.now()))
            .col_expr(Column::Result, Expr::value(result.to_string()))
            .filter(only_if);
        if writer.revise(end).await? == 1 {
            return fault::point_at("task.after_complete", self.job).await;
        }
        let mine = writer.select_with_deleted::<Entity>().id(self.id).filter(Column::Fence.eq(self.fence));
        let mine = mine.filter(Column::State.eq(State::Running.name())).one().await?;
        writer.spoil();
        Err(if mine.is_some() { cancelled() } else { lease_lost() })
    }

    /// Returns an error that is not retried: the task goes to the dead letters.
    pub fn give_up(&self, error: Error) -> Error {
        self.given_up.store(true, Ordering::Relaxed);
        error
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease { tenant: self.tenant, id: self.id, fence: self.fence }
    }

    /// Returns an update of the task that does nothing once another worker has it.
    pub(crate) fn held(&self) -> UpdateMany<Entity> {
        Entity::update_many()
            .filter(Column::Id.eq(self.id))
            .filter(Column::Fence.eq(self.fence))
            .filter(Column::State.eq(State::Running.name()))
    }
}

/// Returns a context in which the product acts for a task's tenant.
pub(crate) fn context(tenant: TenantId, task: TaskId, correlation_id: &str) -> Ctx {
    let request_id = RequestId::parse(&task.to_string()).unwrap_or_else(RequestId::create);
    Ctx::new(CtxParts {
        tenant,
        actor: Actor::System,
        permissions: PermissionSet::default(),
        correlation_id: RequestId::parse(correlation_id).unwrap_or_else(|| request_id.clone()),
        request_id,
        idempotency: None,
        reason: None,
    })
}

/// Another worker has the task, or it is over.
pub(crate) fn lease_lost() -> Error {
    Error::conflict("tasks.lease_lost", "another worker has this task by now")
}

/// The owner does not want it any more.
pub(crate) fn cancelled() -> Error {
    Error::conflict("tasks.cancelled", "this task was cancelled")
}
