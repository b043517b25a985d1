//! Tasks as they are stored. Not for what their owners see: see `overview`.

use kernel::{Id, TenantId, Timestamp};
use sea_orm::entity::prelude::*;

use crate::queue::Task;

/// A task in the queue, at work or over.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    /// Whose it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// Names it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Task>,
    /// The kind of work.
    pub job: String,
    /// What it works on, as JSON text. It may hold secrets.
    pub payload: String,
    /// Higher comes first, among the tasks of its tenant.
    pub priority: i64,
    /// One of [`State`].
    pub state: String,
    /// Not before.
    pub run_at: Timestamp,
    /// When somebody must look at it; empty when it is over.
    pub due_at: Option<Timestamp>,
    /// Counts the leases.
    pub fence: i64,
    /// Counts the attempts.
    pub attempt: i64,
    /// Whether it is to stop.
    pub cancelled: bool,
    /// No second one of its job with this key while it waits or runs.
    pub unique_key: Option<String>,
    /// How much is done.
    pub progress_done: Option<i64>,
    /// Of how much.
    pub progress_of: Option<i64>,
    /// What it is at.
    pub progress_note: Option<String>,
    /// The code of its last error.
    pub error_code: Option<String>,
    /// The public message of its last error.
    pub error: Option<String>,
    /// What it gave, as JSON text.
    pub result: Option<String>,
    /// The chain of requests that it belongs to.
    pub correlation_id: String,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// When it was put in the queue.
    pub created_at: Timestamp,
    /// Who did.
    pub created_by: String,
}

/// No relations: queries name what they need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Task);

/// Where a task is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its time and for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It ended well.
    Done,
    /// It is a dead letter: no attempt is left.
    Failed,
    /// Its owner stopped it.
    Cancelled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
