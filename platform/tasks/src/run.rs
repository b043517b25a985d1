//! One attempt at a task, as the work sees it. Not for leasing.

use kernel::{Ctx, Error, Result, TenantId};
use serde::de::DeserializeOwned;
use store::{Store, Writer};

use crate::queue::TaskId;

/// One attempt at a task.
pub struct Run {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) id: TaskId,
    pub(crate) attempt: u32,
}

impl Run {
    /// Returns the data.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns whose task it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Returns which attempt this is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the key that effects elsewhere carry; the same in every attempt.
    pub fn key(&self) -> String {
        self.id.to_string()
    }

    /// Returns a context in which the product acts for the task's tenant, in the chain of requests that
    /// the task belongs to.
    pub fn ctx(&self) -> Ctx {
        unimplemented!("the engine's author writes this")
    }

    /// Returns what to work on.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        unimplemented!("the engine's author writes this")
    }

    /// Shows the owner how far it is, and keeps the lease. Fails when the task was cancelled or another
    /// worker has it: stop then.
    pub async fn progress(&mut self, _done: u64, _of: Option<u64>, _note: &str) -> Result<()> {
        unimplemented!("the engine's author writes this")
    }

    /// Ends the task in the transaction of its effect; nothing is kept when another worker has it.
    pub async fn complete(&self, _writer: &mut Writer<'_>, _result: serde_json::Value) -> Result<()> {
        unimplemented!("the engine's author writes this")
    }

    /// Returns an error that is not retried: the task goes to the dead letters.
    pub fn give_up(&self, _error: Error) -> Error {
        unimplemented!("the engine's author writes this")
    }
}
