//! Several steps that happen all or are all undone, across services and crashes. Not for what fits
//! into one transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kernel::{Ctx, Result, TenantId};
use serde_json::Value;
use store::{Store, Writer};

use crate::queue::TaskId;

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

/// A saga in the middle of a step.
pub struct SagaRun {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) id: TaskId,
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
        unimplemented!("the engine's author writes this")
    }

    /// Returns a context in which the product acts for the saga's tenant.
    pub fn ctx(&self) -> Ctx {
        unimplemented!("the engine's author writes this")
    }

    /// Returns what the saga was started with.
    pub fn input(&self) -> &Value {
        unimplemented!("the engine's author writes this")
    }

    /// Returns what an earlier step gave; for `undo`, what this step gave too, if that is known.
    pub fn result_of(&self, _step: &str) -> Option<&Value> {
        unimplemented!("the engine's author writes this")
    }
}

/// Starts a saga in the transaction of the change that asks for it. A second start under the same key
/// gives the first one's task.
pub async fn start_saga(_writer: &mut Writer<'_>, _saga: &Saga, _key: &str, _input: Value) -> Result<TaskId> {
    unimplemented!("the engine's author writes this")
}
