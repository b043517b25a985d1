//! Putting tasks in the queue, in the transaction of the change that asks for them. Not for working
//! on them.

use kernel::{Id, IdKind, Result, Timestamp};
use store::Writer;

/// Marks the ids of tasks.
#[derive(Debug)]
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

/// Puts a task of the Writer's tenant in the queue; it is there when the Writer commits.
pub async fn enqueue(_writer: &mut Writer<'_>, _task: NewTask) -> Result<Enqueued> {
    unimplemented!("the engine's author writes this")
}
