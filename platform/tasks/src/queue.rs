//! Putting tasks in the queue, in the transaction of the change that asks for them. Not for working
//! on them.

use kernel::{Id, IdKind, Result, Timestamp};
use sea_orm::{ColumnTrait as _, Set};
use store::Writer;

use crate::row::{self, State};

/// Marks the ids of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task;
impl IdKind for Task {
    const PREFIX: &'static str = "tsk";
}

/// Names a task.
pub type TaskId = Id<Task>;

/// A task to be put in the queue.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// The kind of work.
    pub job: &'static str,
    /// What it is to work on.
    pub payload: serde_json::Value,
    /// Higher comes first, among the tasks of its tenant.
    pub priority: i64,
    /// Not before; now unless said.
    pub run_at: Option<Timestamp>,
    /// No second task of this job with this key while the first waits or runs.
    pub unique_key: Option<String>,
}

impl NewTask {
    /// Returns a task of this job.
    pub fn new(job: &'static str, payload: serde_json::Value) -> Self {
        Self { job, payload, priority: 0, run_at: None, unique_key: None }
    }

    /// Lets it wait until a moment.
    #[must_use]
    pub fn at(mut self, moment: Timestamp) -> Self {
        self.run_at = Some(moment);
        self
    }

    /// Sets which of the tenant's tasks come first.
    #[must_use]
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = priority;
        self
    }

    /// Makes it the only one of its job with this key that waits or runs.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }
}

/// What became of a task that was put in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The task: the new one, or the one that was there under the same unique key.
    pub id: TaskId,
    /// Whether it is new.
    pub new: bool,
}

/// Wakes the workers of this process when the transaction commits.
pub const QUEUED: &str = "tasks.task.queued";

/// Puts a task of the Writer's tenant in the queue; it is there when the Writer commits.
pub async fn enqueue(writer: &mut Writer<'_>, task: NewTask) -> Result<Enqueued> {
    if let Some(key) = &task.unique_key {
        // Looked for before it is written: a refused INSERT would spoil the caller's transaction.
        writer.alone(&format!("task/{}/{key}", task.job)).await?;
        if let Some(present) = unfinished(writer, task.job, key).await? {
            return Ok(Enqueued { id: present, new: false });
        }
    }
    let id = insert(writer, task).await?;
    Ok(Enqueued { id, new: true })
}

/// Returns the task of this job and key that waits or runs.
pub(crate) async fn unfinished(writer: &Writer<'_>, job: &str, key: &str) -> Result<Option<TaskId>> {
    let present = writer
        .select_with_deleted::<row::Entity>()
        .filter(row::Column::Job.eq(job))
        .filter(row::Column::UniqueKey.eq(key))
        .filter(row::Column::DueAt.is_not_null());
    Ok(present.one().await?.map(|task| task.id))
}

async fn insert(writer: &mut Writer<'_>, task: NewTask) -> Result<TaskId> {
    let run_at = task.run_at.unwrap_or(writer.now());
    let model = row::ActiveModel {
        job: Set(task.job.to_owned()),
        payload: Set(task.payload.to_string()),
        priority: Set(task.priority),
        state: Set(State::Queued.name().to_owned()),
        run_at: Set(run_at),
        due_at: Set(Some(run_at)),
        fence: Set(0),
        attempt: Set(0),
        cancelled: Set(false),
        unique_key: Set(task.unique_key),
        correlation_id: Set(writer.correlation_id().to_owned()),
        ..row::ActiveModel::default()
    };
    let task = writer.append::<row::Entity>(model).await?;
    writer.announce(QUEUED, &task.id.to_string());
    Ok(task.id)
}
