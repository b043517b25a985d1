//! Sagas and their steps as they are stored. Not for what happens in them.

use kernel::{TenantId, Timestamp};
use sea_orm::entity::prelude::*;

use crate::queue::{Task, TaskId};

/// A saga; its id is that of the task that runs it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "saga")]
pub struct Model {
    /// Whose it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// Names it and its task.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TaskId,
    /// Its kind.
    pub name: String,
    /// Which steps it has.
    pub version: i64,
    /// What makes a second start the same one.
    pub key: String,
    /// What it was started with, as JSON text. It may hold secrets.
    pub input: String,
    /// One of [`SagaState`].
    pub state: String,
    /// When it is taken back if it is not through.
    pub deadline: Timestamp,
    /// How often the present step failed in a row.
    pub failures: i64,
    /// The code of the error that it was taken back for.
    pub error_code: Option<String>,
    /// The public message of that error.
    pub error: Option<String>,
    /// When it was started.
    pub created_at: Timestamp,
    /// Who did.
    pub created_by: String,
}

/// No relations: queries name what they need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Task);

/// Where a saga is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SagaState {
    Running,
    Compensating,
    Completed,
    Compensated,
    Stuck,
}

impl SagaState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
        }
    }
}

/// One step of a saga, taken or taken back.
pub(crate) mod step {
    use kernel::{Id, IdKind, TenantId, Timestamp};
    use sea_orm::entity::prelude::*;

    use crate::queue::TaskId;

    /// Marks the ids of steps.
    #[derive(Debug)]
    pub struct SagaStep;
    impl IdKind for SagaStep {
        const PREFIX: &'static str = "sgs";
    }

    /// A step in the history of a saga.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "saga_step")]
    pub struct Model {
        /// Whose it is.
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        /// Names it.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<SagaStep>,
        /// Its saga.
        pub saga_id: TaskId,
        /// Its name.
        pub step: String,
        /// `run` or `undo`.
        pub direction: String,
        /// `intended`, `done`, `unknown` or `failed`.
        pub state: String,
        /// What it gave, as JSON text. It may hold secrets.
        pub result: Option<String>,
        /// The code of its last error.
        pub error_code: Option<String>,
        /// The public message of its last error.
        pub error: Option<String>,
        /// When its last attempt began.
        pub started_at: Timestamp,
        /// When its outcome was known.
        pub finished_at: Option<Timestamp>,
        /// When it was first meant.
        pub created_at: Timestamp,
        /// Who did it.
        pub created_by: String,
    }

    /// No relations: queries name what they need.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    store::tenant_row!(Entity, SagaStep);
}
