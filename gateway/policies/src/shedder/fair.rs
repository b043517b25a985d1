//! How much of what is worked on is each tenant's. Not for limits.

use std::collections::HashMap;

use kernel::TenantId;

#[derive(Default)]
pub(super) struct Tenants(HashMap<TenantId, u32>);

impl Tenants {
    /// Says whether the tenant works on less than an equal share of `room` among those that work at all. All
    /// shares together are `room`: never more than twice as many are let in as there is room for.
    pub(super) fn has_less_than_its_share(&self, tenant: TenantId, room: u32) -> bool {
        let own = self.0.get(&tenant).copied().unwrap_or(0);
        let active = self.0.len() as u32 + u32::from(own == 0);
        own < room / active.max(1)
    }

    pub(super) fn add(&mut self, tenant: TenantId) {
        *self.0.entry(tenant).or_insert(0) += 1;
    }

    pub(super) fn remove(&mut self, tenant: TenantId) {
        if let Some(own) = self.0.get_mut(&tenant) {
            *own -= 1;
            if *own == 0 {
                self.0.remove(&tenant);
            }
        }
    }
}
