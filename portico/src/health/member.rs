//! Something outside this process that has a state, and how it is asked for it. Not for making one state
//! of many; see `together.rs`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kernel::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It works.
    Healthy,
    /// It works in part.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// What a look at something found.
#[derive(Clone, Debug)]
pub struct Found {
    /// How it is.
    pub state: Condition,
    /// How long it took to answer.
    pub latency: Option<Duration>,
    /// Since when it is so, where whoever looks knows.
    pub since: Option<Timestamp>,
    /// What is wrong, as a stable code; never an address or a message.
    pub code: Option<&'static str>,
}

impl Found {
    /// Returns that it works.
    pub fn healthy(latency: Option<Duration>) -> Self {
        Self { state: Condition::Healthy, latency, since: None, code: None }
    }

    /// Returns that it does not.
    pub fn unhealthy(code: &'static str) -> Self {
        Self { state: Condition::Unhealthy, latency: None, since: None, code: Some(code) }
    }
}

pub(super) type Looking = Pin<Box<dyn Future<Output = Found> + Send>>;

/// Something outside this process that has a state.
#[derive(Clone)]
pub struct Member {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) look: Arc<dyn Fn() -> Looking + Send + Sync>,
}

impl Member {
    /// Returns one that is looked at by asking.
    pub fn new<F>(name: impl Into<String>, required: bool, look: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Found> + Send + 'static,
    {
        Self { name: name.into(), required, look: Arc::new(move || Box::pin(look())) }
    }

    /// Returns one whose state is known already, such as from active health checks.
    pub fn known(name: impl Into<String>, required: bool, state: impl Fn() -> Found + Send + Sync + 'static) -> Self {
        Self::new(name, required, move || std::future::ready(state()))
    }
}
