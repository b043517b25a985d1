//! Tasks over HTTP, for the tenant whose tasks they are: what waits, what runs and how far it is, what
//! failed and why; and stopping one. Not for other tenants' tasks, which whoever runs the installation
//! sees, and never for what a task works on, which may be secret.

use axum::extract::State;
use kernel::{Answer, Cursor, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use store::Event;
use tasks::{SagaHistory, TaskFilter, TaskId, TaskRow};
use utoipa::ToSchema;
use web::{Caller, Path, Query};

use crate::app::App;
use crate::manifest::{Audience, EventType, PermissionType, Role, Service};
use crate::operation::Operation;
use crate::page::next_page;

const MOST: u64 = 200;
const SORT: &str = "-id";

/// How far a task is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskProgress {
    /// How much is done.
    done: i64,
    /// Of how much, where that is known.
    of: Option<i64>,
    /// The share that is done, from 0 to 100, where it is known.
    percent: Option<i64>,
    /// What it is at.
    note: Option<String>,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskError {
    /// The stable code.
    code: String,
    /// What is wrong, for people.
    message: String,
}

/// A step of a saga, taken or taken back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStep {
    /// Its name.
    step: String,
    /// `run`, or `undo` where it is taken back.
    direction: String,
    /// `intended`, `done`, `failed`, or `unknown` where nobody knows whether it had its effect.
    state: String,
    /// What went wrong with it last.
    error: Option<TaskError>,
    /// When its last attempt began.
    started_at: Timestamp,
    /// When its outcome was known.
    finished_at: Option<Timestamp>,
}

/// Work in several steps that all happen or are all taken back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSaga {
    /// Its kind.
    name: String,
    /// `running`, `compensating`, `completed`, `compensated`, or `stuck` where it cannot be taken back
    /// without help.
    state: String,
    /// When it is taken back if it is not through.
    deadline: Timestamp,
    /// Its steps so far, oldest first.
    steps: Vec<TaskStep>,
}

/// Work that goes on after the request that asked for it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// Names it.
    #[schema(value_type = String)]
    id: TaskId,
    /// The kind of work.
    job: String,
    /// `queued`, `running`, `done`, `failed` or `cancelled`.
    state: String,
    /// Whether it was asked to stop and has not stopped yet.
    stopping: bool,
    /// Higher comes first.
    priority: i64,
    /// How far it is, where it says so.
    progress: Option<TaskProgress>,
    /// How often it was begun.
    attempts: i64,
    /// What went wrong last.
    error: Option<TaskError>,
    /// What it gave.
    result: Option<serde_json::Value>,
    /// Who asked for it.
    created_by: String,
    /// When it was asked for.
    created_at: Timestamp,
    /// When it is begun, or begun again, where it waits.
    runs_at: Option<Timestamp>,
    /// When its last attempt began.
    started_at: Option<Timestamp>,
    /// When it was over.
    finished_at: Option<Timestamp>,
    /// Its steps, where it has some; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    saga: Option<TaskSaga>,
}

fn error(code: Option<String>, message: Option<String>) -> Option<TaskError> {
    code.map(|code| TaskError { code, message: message.unwrap_or_default() })
}

impl TaskView {
    /// Returns what may be shown of a task.
    pub fn of(row: TaskRow, history: Option<SagaHistory>) -> Self {
        let over = row.due_at.is_none();
        let percent = |of: i64, done: i64| (of > 0).then(|| (done.clamp(0, of) as f64 * 100.0 / of as f64) as i64);
        let progress = row.progress_done.map(|done| TaskProgress {
            done,
            of: row.progress_of,
            percent: row.progress_of.and_then(|of| percent(of, done)),
            note: row.progress_note.filter(|note| !note.is_empty()),
        });
        Self {
            id: row.id,
            job: row.job,
            stopping: row.cancelled && !over,
            priority: row.priority,
            progress,
            attempts: row.attempt,
            error: error(row.error_code, row.error),
            result: row.result.and_then(|text| serde_json::from_str(&text).ok()),
            created_by: row.created_by,
            created_at: row.created_at,
            runs_at: (row.state == tasks::State::Queued.name()).then_some(row.run_at),
            state: row.state,
            started_at: row.started_at,
            finished_at: row.finished_at,
            saga: history.map(saga),
        }
    }
}

fn saga(history: SagaHistory) -> TaskSaga {
    let step = |step: tasks::StepHistory| TaskStep {
        step: step.step,
        direction: step.direction,
        state: step.state,
        error: error(step.error_code, step.error),
        started_at: step.started_at,
        finished_at: step.finished_at,
    };
    TaskSaga {
        name: history.name,
        state: history.state,
        deadline: history.deadline,
        steps: history.steps.into_iter().map(step).collect(),
    }
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
struct TaskPage {
    /// The tasks, newest first.
    items: Vec<TaskView>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

/// Where a task is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It waits for its time and for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It ended well.
    Done,
    /// No attempt is left.
    Failed,
    /// It was stopped.
    Cancelled,
}

impl From<TaskState> for tasks::State {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Queued => Self::Queued,
            TaskState::Running => Self::Running,
            TaskState::Done => Self::Done,
            TaskState::Failed => Self::Failed,
            TaskState::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    state: Option<TaskState>,
    job: Option<String>,
    limit: Option<u64>,
    cursor: Option<String>,
}

const PERMISSIONS: [PermissionType; 2] = [
    PermissionType { name: "tasks.tasks.read", role: Role::Staff, summary: "See what the product works on" },
    PermissionType { name: "tasks.tasks.cancel", role: Role::Admin, summary: "Stop what the product works on" },
];

const EVENTS: [EventType; 3] = [
    event("tasks.task.failed", "A task failed and is not tried again; data tells which work, how often, and why"),
    event("tasks.task.cancelled", "Somebody asked a task to stop; data tells which work"),
    event("tasks.task.retried", "A task that had failed is tried again; data tells which work"),
];

const fn event(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Admins, retention_days: Some(90), summary }
}

/// Returns the service that shows tenants their tasks, and whose tables the engine works on.
pub fn task_service() -> Service {
    Service::new("tasks", "Work that goes on after the request")
        .routes([
            Operation::get("/api/tasks", "tasks_list_tasks", list)
                .permission("tasks.tasks.read")
                .query::<TaskState>("state", "Only those in this state.")
                .query::<String>("job", "Only this kind of work, such as `webhooks.deliver`.")
                .paged()
                .describe(
                    "List tasks",
                    "For staff. Gives the tenant's tasks, newest first: those that wait, run or failed, and for a week \
                     those that ended well or were cancelled. What a task works on is never shown.",
                )
                .gives::<TaskPage>(200, "A page")
                .problems(&[400]),
            Operation::get("/api/tasks/{id}", "tasks_get_task", get)
                .path::<TaskId>("id")
                .permission("tasks.tasks.read")
                .describe(
                    "Get a task",
                    "For staff. Gives its state, how far it is, how often it was begun, what went wrong or what it \
                     gave; where it takes several steps that are taken back when one fails, each of them.",
                )
                .gives::<TaskView>(200, "Found")
                .problems(&[400, 404]),
            Operation::post("/api/tasks/{id}/cancel", "tasks_cancel_task", cancel)
                .path::<TaskId>("id")
                .permission("tasks.tasks.cancel")
                .describe(
                    "Stop a task",
                    "For administrators. One that waits is cancelled at once. One that runs is asked to stop, and does \
                     so when it next says how far it is; what it has done so far stays, except that a task of several \
                     steps takes them back. Cancelling twice is the same as once; one that is over answers 409. Writes \
                     `tasks.task.cancelled`.",
                )
                .gives::<TaskView>(200, "Cancelled, or asked to stop")
                .problems(&[400, 404, 409]),
        ])
        .migrations(tasks::MIGRATIONS.steps)
        .permissions(PERMISSIONS)
        .events(EVENTS)
}

async fn list(State(app): State<App>, Caller(ctx): Caller, Query(asked): Query<Asked>) -> web::Result {
    let limit = asked.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        let wrong = Error::invalid("request.invalid_query", "the query is not valid");
        return Err(wrong.field("limit", "must be a number from 1 to 200").into());
    }
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let filter = TaskFilter {
        state: asked.state.map(Into::into),
        job: asked.job,
        before: cursor.map(|cursor| TaskId::from_uuid(cursor.id)),
    };
    let reader = app.store.read(&ctx).await?;
    let mut rows = tasks::list(&reader, &filter, limit + 1).await?;
    reader.close().await?;
    let next = next_page(&mut rows, limit, SORT, |row| row.id.uuid());
    let items = rows.into_iter().map(|row| TaskView::of(row, None)).collect();
    Ok(Answer::ok(&TaskPage { items, next })?.into())
}

async fn get(State(app): State<App>, Caller(ctx): Caller, Path(id): Path<TaskId>) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let row = tasks::find(&reader, id).await?;
    let history = tasks::history(&reader, id).await?;
    reader.close().await?;
    Ok(Answer::ok(&TaskView::of(row, history))?.into())
}

async fn cancel(State(app): State<App>, Caller(mut ctx): Caller, Path(id): Path<TaskId>) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    let row = cancel_task(&mut writer, id).await?;
    Ok(writer.commit(Answer::ok(&TaskView::of(row, None))?).await?.into())
}

/// Cancels a task on somebody's word, and records that.
pub async fn cancel_task(writer: &mut store::Writer<'_>, id: TaskId) -> Result<TaskRow> {
    let (row, new) = tasks::cancel(writer, id).await?;
    if row.due_at.is_none() && row.state != tasks::State::Cancelled.name() {
        return Err(Error::conflict("tasks.already_over", "this task is over: there is nothing to stop"));
    }
    if new {
        let data = serde_json::json!({ "job": row.job });
        writer.record(Event::about("tasks.task.cancelled", id, data)).await?;
    }
    Ok(row)
}
