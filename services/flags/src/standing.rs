//! How every switch stands: what the platform says of it, and each tenant. Pure data; what is said
//! late loses to what was said after it. Not for locks and not for the database: see `state` and
//! `follow`.

use std::collections::HashMap;

use kernel::TenantId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose word on a switch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DecidedBy {
    /// The platform turned it for everybody.
    Platform,
    /// The tenant turned it, and the platform did not.
    Tenant,
    /// Nobody turned it: then it is on.
    Default,
}

/// What holds, and whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub on: bool,
    pub by: DecidedBy,
}

/// How every switch stands.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// By key first: all tenants turn the same few.
    switches: HashMap<Box<str>, Switch>,
}

#[derive(Debug, Default)]
struct Switch {
    platform: Option<Said<Option<bool>>>,
    tenants: HashMap<TenantId, Said<bool>>,
}

impl Switch {
    /// Returns what the platform says.
    fn word(&self) -> Option<bool> {
        self.platform.and_then(|said| said.value)
    }
}

/// What was said last.
#[derive(Clone, Copy, Debug)]
struct Said<T> {
    version: i64,
    value: T,
}

impl<T> Said<T> {
    /// Says whether something at this version comes too late.
    fn is_as_new_as(&self, version: i64) -> bool {
        self.version >= version
    }
}

/// Returns whose word holds of what the platform and the tenant say.
pub(crate) fn decide(platform: Option<bool>, tenant: Option<bool>) -> Decision {
    match (platform, tenant) {
        (Some(on), _) => Decision { on, by: DecidedBy::Platform },
        (None, Some(on)) => Decision { on, by: DecidedBy::Tenant },
        (None, None) => Decision { on: true, by: DecidedBy::Default },
    }
}

impl Standing {
    /// Says whether a switch is on for a tenant, and who decided that.
    pub fn decision(&self, tenant: TenantId, key: &str) -> Decision {
        let Some(switch) = self.switches.get(key) else { return decide(None, None) };
        decide(switch.word(), switch.tenants.get(&tenant).map(|said| said.value))
    }

    /// Returns what the platform says of a switch.
    pub fn platform(&self, key: &str) -> Option<bool> {
        self.switches.get(key).and_then(Switch::word)
    }

    /// Returns the keys of which the platform says something.
    pub fn platform_keys(&self) -> Vec<String> {
        self.switches.iter().filter(|(_, switch)| switch.word().is_some()).map(|(key, _)| key.to_string()).collect()
    }

    /// Notes what a tenant said of a switch at this version of its flag.
    pub fn turn(&mut self, tenant: TenantId, key: &str, version: i64, value: bool) {
        let tenants = &mut self.switch(key).tenants;
        if !tenants.get(&tenant).is_some_and(|said| said.is_as_new_as(version)) {
            tenants.insert(tenant, Said { version, value });
        }
    }

    /// Notes what the platform said of a switch at this version of its flag; nothing leaves it to the tenants.
    pub fn turn_for_all(&mut self, key: &str, version: i64, value: Option<bool>) {
        let switch = self.switch(key);
        if !switch.platform.is_some_and(|said| said.is_as_new_as(version)) {
            switch.platform = Some(Said { version, value });
        }
    }

    /// Forgets what a tenant said.
    pub fn forget(&mut self, tenant: TenantId) {
        self.switches.retain(|_, switch| {
            switch.tenants.remove(&tenant);
            switch.platform.is_some() || !switch.tenants.is_empty()
        });
    }

    fn switch(&mut self, key: &str) -> &mut Switch {
        if !self.switches.contains_key(key) {
            self.switches.insert(key.into(), Switch::default());
        }
        self.switches.get_mut(key).expect("put there if it was missing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_comes_before_the_tenant_and_the_tenant_before_the_default() {
        use DecidedBy::{Default, Platform, Tenant};
        let (tenant, other) = (TenantId::new(), TenantId::new());
        for (platform, own, on, by) in [
            (None, None, true, Default),
            (None, Some(true), true, Tenant),
            (None, Some(false), false, Tenant),
            (Some(true), None, true, Platform),
            (Some(true), Some(true), true, Platform),
            (Some(true), Some(false), true, Platform),
            (Some(false), None, false, Platform),
            (Some(false), Some(true), false, Platform),
            (Some(false), Some(false), false, Platform),
        ] {
            let mut standing = Standing::default();
            standing.turn_for_all("other", 1, Some(!on));
            if let Some(own) = own {
                standing.turn(tenant, "key", 1, own);
            }
            // Said and taken back is not said.
            standing.turn_for_all("key", 2, platform);
            assert_eq!(standing.decision(tenant, "key"), Decision { on, by }, "{platform:?} over {own:?}");
            assert_eq!(standing.decision(other, "key"), decide(platform, None), "{platform:?} for another");
        }
    }

    #[test]
    fn what_comes_late_loses() {
        let tenant = TenantId::new();
        let mut standing = Standing::default();
        let on = |standing: &Standing| standing.decision(tenant, "key").on;
        standing.turn(tenant, "key", 2, false);
        standing.turn(tenant, "key", 1, true);
        assert!(!on(&standing), "the first version came last");
        standing.turn(tenant, "key", 2, false);
        standing.turn(tenant, "key", 3, true);
        assert!(on(&standing));
        standing.turn_for_all("key", 5, Some(false));
        standing.turn_for_all("key", 4, None);
        assert!(!on(&standing), "it was left to the tenants before it was turned off");
        standing.turn_for_all("key", 6, None);
        standing.turn_for_all("key", 5, Some(false));
        assert!(on(&standing), "it was turned off before it was left to the tenants");
    }

    #[test]
    fn every_order_of_the_same_words_ends_alike() {
        let tenant = TenantId::new();
        let words = [(1, false), (2, true), (3, false), (4, true)];
        for order in orders(words.len()) {
            let mut standing = Standing::default();
            for place in &order {
                let (version, value) = words[*place];
                standing.turn(tenant, "key", version, value);
                standing.turn_for_all("other", version, Some(!value));
            }
            assert!(standing.decision(tenant, "key").on, "{order:?}");
            assert!(!standing.decision(tenant, "other").on, "{order:?}");
        }
    }

    fn orders(length: usize) -> Vec<Vec<usize>> {
        let Some(last) = length.checked_sub(1) else { return vec![vec![]] };
        let longer = |order: Vec<usize>| {
            (0..length).map(move |place| {
                let mut order = order.clone();
                order.insert(place, last);
                order
            })
        };
        orders(last).into_iter().flat_map(longer).collect()
    }

    #[test]
    fn a_forgotten_tenant_leaves_the_platforms_word_and_the_other_tenants() {
        let (gone, stays) = (TenantId::new(), TenantId::new());
        let mut standing = Standing::default();
        for tenant in [gone, stays] {
            standing.turn(tenant, "key", 7, false);
        }
        standing.turn(gone, "alone", 1, false);
        standing.turn_for_all("all", 1, Some(false));
        standing.turn(gone, "all", 1, true);
        standing.forget(gone);
        assert_eq!(standing.switches.len(), 2, "no key stays without a word on it");
        assert!(standing.decision(gone, "key").on && !standing.decision(stays, "key").on);
        assert_eq!(standing.platform_keys(), ["all"]);
        // Whoever comes back begins anew.
        standing.turn(gone, "key", 1, false);
        assert!(!standing.decision(gone, "key").on);
    }
}
