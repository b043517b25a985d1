//! Reading tasks, for their owners and for whoever runs the installation. Not for the engine, and not
//! for what may be shown of a row: payloads never are.

use kernel::{Result, TenantId, Timestamp};
use sea_orm::sea_query::{Condition, Expr, Order};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use store::{Purpose, Reader, Store, from_database, not_found};

use crate::queries::Sql;
use crate::queue::TaskId;
use crate::row::{Column, Entity, Model, State};
use crate::saga::row as saga;
use crate::saga::row::step;

/// Which tasks to read.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those of this job.
    pub job: Option<String>,
    /// Only those that are older than this one.
    pub before: Option<TaskId>,
}

impl TaskFilter {
    fn condition(&self) -> Condition {
        // The state's name stands in the text, where SQLite can match it with the index of dead letters.
        let state = self.state.map(|state| Expr::cust(format!("state = '{}'", state.name())));
        Condition::all()
            .add_option(state)
            .add_option(self.job.as_deref().map(|job| Column::Job.eq(job)))
            .add_option(self.before.map(|before| Column::Id.lt(before)))
    }
}

/// A saga and what has become of its steps, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaHistory {
    /// Its kind.
    pub name: String,
    /// `running`, `compensating`, `completed`, `compensated` or `stuck`.
    pub state: String,
    /// When it is taken back if it is not through.
    pub deadline: Timestamp,
    /// Its steps.
    pub steps: Vec<StepHistory>,
}

/// A step that was taken or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepHistory {
    /// Its name.
    pub step: String,
    /// `run` or `undo`.
    pub direction: String,
    /// `intended`, `done`, `unknown` or `failed`.
    pub state: String,
    /// The code of its last error.
    pub error_code: Option<String>,
    /// The public message of that error.
    pub error: Option<String>,
    /// When its last attempt began.
    pub started_at: Timestamp,
    /// When its outcome was known.
    pub finished_at: Option<Timestamp>,
}

/// Returns a tenant's tasks, newest first.
pub async fn list(reader: &Reader<'_>, filter: &TaskFilter, limit: u64) -> Result<Vec<Model>> {
    let tasks = reader.select_with_deleted::<Entity>().filter(filter.condition());
    tasks.order_by(Column::Id, Order::Desc).limit(limit).all().await
}

/// Returns a tenant's task.
pub async fn find(reader: &Reader<'_>, id: TaskId) -> Result<Model> {
    reader.select_with_deleted::<Entity>().id(id).one().await?.ok_or_else(not_found)
}

/// Returns what has become of the saga that a task runs, if it runs one.
pub async fn history(reader: &Reader<'_>, id: TaskId) -> Result<Option<SagaHistory>> {
    let Some(row) = reader.select_with_deleted::<saga::Entity>().id(id).one().await? else { return Ok(None) };
    let steps = reader.select_with_deleted::<step::Entity>().filter(step::Column::SagaId.eq(id));
    let steps = steps.order_by(step::Column::Id, Order::Asc).all().await?;
    Ok(Some(told(row, steps)))
}

fn told(row: saga::Model, steps: Vec<step::Model>) -> SagaHistory {
    let tell = |row: step::Model| StepHistory {
        step: row.step,
        direction: row.direction,
        state: row.state,
        error_code: row.error_code,
        error: row.error,
        started_at: row.started_at,
        finished_at: row.finished_at,
    };
    SagaHistory {
        name: row.name,
        state: row.state,
        deadline: row.deadline,
        steps: steps.into_iter().map(tell).collect(),
    }
}

/// Returns tasks of one tenant or of all, newest first.
pub async fn list_all(store: &Store, tenant: Option<TenantId>, filter: &TaskFilter, limit: u64) -> Result<Vec<Model>> {
    let mut select = Entity::find().filter(filter.condition()).order_by_desc(Column::Id).limit(limit);
    if let Some(tenant) = tenant {
        select = select.filter(Column::TenantId.eq(tenant));
    }
    let system = store.system_read(Purpose::Tasks).await?;
    let tasks = system.all(select).await?;
    system.close().await?;
    Ok(tasks)
}

/// Returns a task of any tenant, and what has become of its saga.
pub async fn find_any(store: &Store, id: TaskId) -> Result<(Model, Option<SagaHistory>)> {
    let system = store.system_read(Purpose::Tasks).await?;
    let task = system.one(Entity::find().filter(Column::Id.eq(id))).await?;
    let row = system.one(saga::Entity::find().filter(saga::Column::Id.eq(id))).await?;
    let steps = step::Entity::find().filter(step::Column::SagaId.eq(id)).order_by_asc(step::Column::Id);
    let steps = system.all(steps).await?;
    system.close().await?;
    Ok((task.ok_or_else(not_found)?, row.map(|row| told(row, steps))))
}

/// How many tasks there are of a job in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The kind of work.
    pub job: String,
    /// The state.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// Counts the tasks of one tenant or of all.
pub async fn count_all(store: &Store, tenant: Option<TenantId>) -> Result<Vec<Count>> {
    let (condition, values) = match tenant {
        Some(tenant) => (" WHERE tenant_id = ?", vec![tenant.into()]),
        None => ("", vec![]),
    };
    let text = format!("SELECT job, state, COUNT(*) FROM task{condition} GROUP BY job, state ORDER BY job, state");
    let system = store.system_read(Purpose::Tasks).await?;
    let rows = system.rows(&Sql::new(text, values)).await?;
    system.close().await?;
    let read = |row: &sea_orm::QueryResult| {
        Ok(Count { job: row.try_get_by_index(0)?, state: row.try_get_by_index(1)?, count: row.try_get_by_index(2)? })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(from_database)
}
