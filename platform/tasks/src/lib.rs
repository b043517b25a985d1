//! One durable engine for work that outlives a request: jobs, schedules, timers and sagas. A task is
//! put in the queue in the transaction of the change that asks for it, is leased by one worker at a
//! time, and ends once. Not for business words.

mod cancel;
mod engine;
mod housekeeping;
mod job;
mod overview;
mod queries;
mod queue;
mod row;
mod run;
mod saga;
mod schedule;
mod tables;

pub use cancel::{cancel, retry};
pub use engine::{Engine, EngineConfig, Running};
pub use housekeeping::remove_finished;
pub use job::{Job, Outcome, Retry, Work};
pub use overview::{Count, SagaHistory, StepHistory, TaskFilter, count_all, find, find_any, history, list, list_all};
pub use queue::{Enqueued, NewTask, QUEUED, Task, TaskId, enqueue};
pub use row::{Model as TaskRow, State};
pub use run::Run;
pub use saga::{Saga, SagaRun, Step, StepWork, start_saga};
pub use schedule::{Schedule, Scheduled};
pub use tables::MIGRATIONS;
