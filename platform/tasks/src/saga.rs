//! Several steps that happen all or are all undone, across services and crashes. Not for what fits
//! into one transaction.

mod call;
mod execute;
mod history;
pub(crate) mod row;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Ctx, Error, Result, TenantId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, Set};
use serde_json::Value;
use store::{Store, System, Writer};

use crate::job::{Job, Retry};
use crate::queue::{self, NewTask, TaskId};
use crate::run;
use execute::Executor;
use row::SagaState;

/// One step of a saga.
pub trait StepWork: Send + Sync + 'static {
    /// Takes the step. What it returns is kept and given to later steps and to `undo`. It may be called
    /// again when the outcome of an earlier call is not known: effects carry [`SagaRun::key`].
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>>;

    /// Takes the step back. It may be called again, and for a step whose outcome is not known.
    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>>;
}

/// A named step.
#[derive(Clone)]
pub struct Step {
    /// Its name, unique in its saga.
    pub name: &'static str,
    pub(crate) work: Arc<dyn StepWork>,
}

impl Step {
    /// Returns a step.
    pub fn new(name: &'static str, work: impl StepWork) -> Self {
        Self { name, work: Arc::new(work) }
    }
}

/// A kind of saga.
#[derive(Clone)]
pub struct Saga {
    /// Its name, unique in the installation, such as `tenants.provision`.
    pub name: &'static str,
    /// Counts changes of its steps; a saga goes on with the steps that it was started with.
    pub version: i64,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

impl Saga {
    /// How long after its start a saga that is not through yet is taken back.
    pub const DEADLINE: Duration = Duration::from_secs(3_600);
}

/// A saga in the middle of a step.
pub struct SagaRun {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) id: TaskId,
    pub(crate) step: &'static str,
    pub(crate) input: Value,
    pub(crate) results: BTreeMap<String, Value>,
    pub(crate) correlation_id: String,
}

impl SagaRun {
    /// Returns the data.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns whose saga it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the task that runs the saga.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Returns the key that this step's effects carry; the same in every attempt.
    pub fn key(&self) -> String {
        format!("{}/{}", self.id, self.step)
    }

    /// Returns a context in which the product acts for the saga's tenant.
    pub fn ctx(&self) -> Ctx {
        run::context(self.tenant, self.id, &self.correlation_id)
    }

    /// Returns what the saga was started with.
    pub fn input(&self) -> &Value {
        &self.input
    }

    /// Says whether the saga is still on its way forward, and keeps it so until the transaction ends. For a
    /// step that makes what the others hold on to: a worker that was overtaken makes nothing after it was
    /// taken back.
    pub async fn is_on_its_way(&self, system: &System) -> Result<bool> {
        let saga = system.one_locked(row::Entity::find_by_id((self.tenant, self.id))).await?;
        Ok(saga.is_some_and(|saga| saga.state == SagaState::Running.name()))
    }

    /// Returns what an earlier step gave; for `undo`, what this step gave too, if that is known.
    pub fn result_of(&self, step: &str) -> Option<&Value> {
        self.results.get(step)
    }
}

/// The job that runs sagas of every kind.
pub(crate) const JOB: &str = "tasks.saga";

/// Starts a saga in the transaction of the change that asks for it. A second start under the same key
/// gives the first one's task.
pub async fn start_saga(writer: &mut Writer<'_>, saga: &Saga, key: &str, input: Value) -> Result<TaskId> {
    writer.alone(&format!("saga/{}/{key}", saga.name)).await?;
    let present = writer
        .select_with_deleted::<row::Entity>()
        .filter(row::Column::Name.eq(saga.name))
        .filter(row::Column::Key.eq(key));
    if let Some(present) = present.one().await? {
        return Ok(present.id);
    }
    let payload = serde_json::json!({ "saga": saga.name, "version": saga.version });
    let task = queue::enqueue(writer, NewTask::new(JOB, payload)).await?;
    let model = row::ActiveModel {
        id: Set(task.id),
        name: Set(saga.name.to_owned()),
        version: Set(saga.version),
        key: Set(key.to_owned()),
        input: Set(input.to_string()),
        state: Set(SagaState::Running.name().to_owned()),
        deadline: Set(writer.now().plus(Saga::DEADLINE)),
        failures: Set(0),
        ..row::ActiveModel::default()
    };
    writer.append::<row::Entity>(model).await?;
    Ok(task.id)
}

/// Returns the job that runs these sagas, if there are any: a process that knows none leaves them to
/// others. Several versions of one may run side by side.
pub(crate) fn job(sagas: Vec<Saga>) -> Result<Option<Job>> {
    if sagas.is_empty() {
        return Ok(None);
    }
    let mut known = BTreeMap::new();
    for saga in sagas {
        let mut names: Vec<&str> = saga.steps.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < saga.steps.len() {
            return Err(Error::internal(format!("two steps of the saga {} have one name", saga.name)));
        }
        let (name, version) = (saga.name, saga.version);
        if known.insert((name.to_owned(), version), saga).is_some() {
            return Err(Error::internal(format!("two sagas are called {name}, version {version}")));
        }
    }
    // A saga counts its own failures: it ends completed or taken back, and never as a dead letter.
    let retry = Retry { attempts: u32::MAX, ..Retry::default() };
    Ok(Some(Job::new(JOB, Executor { sagas: known }).retry(retry)))
}
