//! One durable engine for work that outlives a request: jobs, schedules, timers and sagas. A task is
//! put in the queue in the transaction of the change that asks for it, is leased by one worker at a
//! time, and ends once. Not for business words.

mod job;
mod queue;
mod run;
mod saga;
mod schedule;

pub use job::{Job, Outcome, Retry, Work};
pub use queue::{Enqueued, NewTask, Task, TaskId, enqueue};
pub use run::Run;
pub use saga::{Saga, SagaRun, Step, StepWork, start_saga};
pub use schedule::{Schedule, Scheduled};
