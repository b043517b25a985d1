//! Switches that operations stand behind: on unless somebody turned them off. Asked on every request,
//! so an answer comes from memory. Not for who turns them, nor for experiments: that is the flags
//! service's.

use kernel::{Error, Result, TenantId};

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
}

/// All switches are on: where there is no flags service.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllOn;

impl Features for AllOn {
    fn is_on(&self, _: TenantId, _: &str) -> bool {
        true
    }
}
