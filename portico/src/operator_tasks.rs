//! Tasks of all tenants, as whoever runs the installation sees them: what waits, what runs, what is
//! dead; trying a dead one again, and stopping one. Not for tenants, who see their own.

use axum::extract::State;
use kernel::{Answer, Cursor, Error, PermissionSet, Result, TenantId};
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation, TaskState, TaskView, cancel_task, next_page};
use store::{Event, Store};
use tasks::{TaskFilter, TaskId, TaskRow};
use utoipa::ToSchema;
use web::{Path, Query};

/// Where tasks are listed.
pub(crate) const TASKS: &str = "/operator/tasks";
const ONE: &str = "/operator/tasks/{id}";
const RETRY: &str = "/operator/tasks/{id}/retry";
const CANCEL: &str = "/operator/tasks/{id}/cancel";

const MOST: u64 = 200;
const SORT: &str = "-id";

/// A task and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperatorTask {
    /// Whose it is.
    tenant_id: TenantId,
    #[serde(flatten)]
    task: TaskView,
}

/// How many tasks there are of a job in a state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskCount {
    /// The kind of work.
    job: String,
    /// The state.
    state: String,
    /// How many.
    count: i64,
}

/// A page of tasks, and how many there are in all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperatorTaskPage {
    /// The tasks, newest first.
    items: Vec<OperatorTask>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
    /// How many there are by job and state, of the tenant that was asked for or of all.
    counts: Vec<TaskCount>,
}

/// Which tasks are wanted.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub state: Option<TaskState>,
    pub job: Option<String>,
    pub tenant: Option<TenantId>,
    pub limit: Option<u64>,
    pub cursor: Option<String>,
}

/// Returns the routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(TASKS, "operator_list_tasks", list)
            .access(Access::Operator)
            .query::<TaskState>("state", "Only those in this state.")
            .query::<String>("job", "Only this kind of work, such as `webhooks.deliver`.")
            .query::<TenantId>("tenant", "Only those of this tenant.")
            .paged()
            .describe(
                "List tasks of all tenants",
                "Gives tasks, newest first, and how many there are by job and state. What they work on is never \
                 shown. Needs the operator token.",
            )
            .gives::<OperatorTaskPage>(200, "A page")
            .problems(&[400, 401]),
        Operation::get(ONE, "operator_get_task", get)
            .path::<TaskId>("id")
            .access(Access::Operator)
            .describe("Get a task of any tenant", "With its steps, where it has some. Needs the operator token.")
            .gives::<OperatorTask>(200, "Found")
            .problems(&[400, 401, 404]),
        Operation::post(RETRY, "operator_retry_task", retry)
            .path::<TaskId>("id")
            .access(Access::Operator)
            .describe(
                "Try a failed task again",
                "It is tried at once, with all its attempts before it. Its tenant reads in its log that it is, \
                 `tasks.task.retried`. One that has not failed answers 409, and so does one of several steps, which \
                 were taken back. Needs the operator token.",
            )
            .gives::<OperatorTask>(200, "It is tried")
            .problems(&[400, 401, 404, 409]),
        Operation::post(CANCEL, "operator_cancel_task", cancel)
            .path::<TaskId>("id")
            .access(Access::Operator)
            .describe(
                "Stop a task of any tenant",
                "One that waits is cancelled at once; one that runs stops when it next says how far it is. Its tenant \
                 reads in its log that it was asked to, `tasks.task.cancelled`. Needs the operator token.",
            )
            .gives::<OperatorTask>(200, "Cancelled, or asked to stop")
            .problems(&[400, 401, 404, 409]),
    ]
}

fn shown(row: TaskRow, history: Option<tasks::SagaHistory>) -> OperatorTask {
    OperatorTask { tenant_id: row.tenant_id, task: TaskView::of(row, history) }
}

/// Returns a page of tasks.
pub(crate) async fn page(store: &Store, wanted: Wanted) -> Result<OperatorTaskPage> {
    let limit = wanted.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        let wrong = Error::invalid("request.invalid_query", "the query is not valid");
        return Err(wrong.field("limit", "must be a number from 1 to 200"));
    }
    let cursor = wanted.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let filter = TaskFilter {
        state: wanted.state.map(Into::into),
        job: wanted.job,
        before: cursor.map(|cursor| TaskId::from_uuid(cursor.id)),
    };
    let mut rows = tasks::list_all(store, wanted.tenant, &filter, limit + 1).await?;
    let next = next_page(&mut rows, limit, SORT, |row| row.id.uuid());
    let counts = tasks::count_all(store, wanted.tenant).await?;
    let count = |count: tasks::Count| TaskCount { job: count.job, state: count.state, count: count.count };
    Ok(OperatorTaskPage {
        items: rows.into_iter().map(|row| shown(row, None)).collect(),
        next,
        counts: counts.into_iter().map(count).collect(),
    })
}

/// Returns a task of any tenant.
pub(crate) async fn one(store: &Store, id: TaskId) -> Result<OperatorTask> {
    let (row, history) = tasks::find_any(store, id).await?;
    Ok(shown(row, history))
}

/// Tries a dead task again.
pub(crate) async fn retry_one(store: &Store, id: TaskId) -> Result<OperatorTask> {
    let tenant = tasks::find_any(store, id).await?.0.tenant_id;
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    let row = tasks::retry(&mut writer, id).await?;
    let data = serde_json::json!({ "job": row.job });
    writer.record(Event::about("tasks.task.retried", id, data)).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(shown(row, None))
}

/// Stops a task.
pub(crate) async fn cancel_one(store: &Store, id: TaskId) -> Result<OperatorTask> {
    let tenant = tasks::find_any(store, id).await?.0.tenant_id;
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    let row = cancel_task(&mut writer, id).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(shown(row, None))
}

async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> web::Result {
    Ok(Answer::ok(&page(&app.store, wanted).await?)?.into())
}

async fn get(State(app): State<App>, Path(id): Path<TaskId>) -> web::Result {
    Ok(Answer::ok(&one(&app.store, id).await?)?.into())
}

async fn retry(State(app): State<App>, Path(id): Path<TaskId>) -> web::Result {
    Ok(Answer::ok(&retry_one(&app.store, id).await?)?.into())
}

async fn cancel(State(app): State<App>, Path(id): Path<TaskId>) -> web::Result {
    Ok(Answer::ok(&cancel_one(&app.store, id).await?)?.into())
}
