//! Switches that operations stand behind: on unless somebody turned them off. Asked on every request,
//! so an answer comes from memory. Not for who turns them, nor for experiments: that is the flags
//! service's.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Result, TenantId};
use store::Store;

use crate::manifest::Service;

/// What a switch is called, and what it switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its key, such as `inventory.adjust`.
    pub key: &'static str,
    /// What stops when it is off, for people.
    pub summary: &'static str,
}

/// For how long a client is asked to stay away from what is switched off, in seconds.
const AWAY: u32 = 30;

/// The work of hearing what is turned; it goes on until it is dropped.
pub type Following = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Knows which switches are on.
pub trait Features: Send + Sync + 'static {
    /// Says whether the switch is on for the tenant; one that nobody ever turned is.
    fn is_on(&self, tenant: TenantId, key: &str) -> bool;

    /// Refuses with 503 when the switch is off for the tenant.
    fn require(&self, tenant: TenantId, key: &str) -> Result<()> {
        if self.is_on(tenant, key) {
            return Ok(());
        }
        let message = format!("{key} is switched off for now");
        Err(Error::unavailable("flags.feature_disabled", message).retry_after(AWAY))
    }

    /// Reads how everything stands, and returns the work of following it from there. `look` says how often
    /// to look for what other processes turned; nothing where there are none.
    fn open<'a>(
        &'a self,
        store: &'a Store,
        look: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = Result<Following>> + Send + 'a>>;
}

/// All switches are on: where there is no flags service.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllOn;

impl Features for AllOn {
    fn is_on(&self, _: TenantId, _: &str) -> bool {
        true
    }

    fn open<'a>(
        &'a self,
        _: &'a Store,
        _: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = Result<Following>> + Send + 'a>> {
        Box::pin(async {
            let nothing: Following = Box::pin(async {});
            Ok(nothing)
        })
    }
}

/// Returns what knows the switches among these services; without it all are on.
pub fn features_of(services: &[Service]) -> Arc<dyn Features> {
    services.iter().find_map(|service| service.features.clone()).unwrap_or_else(|| Arc::new(AllOn))
}

/// Returns the switches that operations of these services stand behind, each once, by key.
pub fn declared_features(services: &[Service]) -> Vec<Feature> {
    let operations = services.iter().flat_map(|service| &service.operations);
    let by_key: BTreeMap<_, _> =
        operations.filter_map(|operation| operation.feature).map(|feature| (feature.key, feature)).collect();
    by_key.into_values().collect()
}
