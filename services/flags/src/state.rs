//! What a process knows of all switches, in memory: asked on every request, so nothing here waits for
//! a database. Not for how it comes to know them: see `follow`.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use kernel::{Result, TenantId};
use service::{Feature, Features, Following};
use store::{Committed, Store};
use tokio::sync::Notify;

use crate::declared::Declared;
use crate::standing::{Decision, Standing, decide};
use crate::{CHANGED, PLATFORM_CHANGED, follow};

/// When a tenant is made its first flags are there, and there was no event of them.
const PROVISIONED: &str = "tenants.tenant.provisioned";

/// The events after which something has to be read anew.
pub(crate) const TELLING: [&str; 3] = [CHANGED, PLATFORM_CHANGED, PROVISIONED];

/// What a process knows of all switches. Cloning it is cheap.
#[derive(Clone)]
pub struct Flags(Arc<Inner>);

struct Inner {
    declared: Declared,
    standing: RwLock<Standing>,
    stale: Mutex<Stale>,
    told: Notify,
}

/// What has changed, and is to be read anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stale {
    pub tenants: HashSet<TenantId>,
    pub platform: bool,
}

impl Flags {
    /// Returns a state that knows only what is declared; all is on until it is opened.
    pub(crate) fn new(declared: Vec<Feature>) -> Self {
        Self(Arc::new(Inner {
            declared: Declared::new(declared),
            standing: RwLock::default(),
            stale: Mutex::default(),
            told: Notify::new(),
        }))
    }

    pub(crate) fn declared(&self) -> &Declared {
        &self.0.declared
    }

    /// Says whether a switch is on for a tenant, and who decided that.
    pub(crate) fn decision(&self, tenant: TenantId, key: &str) -> Decision {
        self.standing().decision(tenant, key)
    }

    /// Returns what holds for a tenant that says this of a switch.
    pub(crate) fn decision_with(&self, key: &str, own: bool) -> Decision {
        decide(self.standing().platform(key), Some(own))
    }

    /// Returns the keys of which the platform says something.
    pub(crate) fn platform_keys(&self) -> Vec<String> {
        self.standing().platform_keys()
    }

    fn standing(&self) -> RwLockReadGuard<'_, Standing> {
        self.0.standing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known; quick, for every request asks.
    pub(crate) fn learn(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.0.standing.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes that these events were committed.
    pub(crate) fn hear(&self, events: &[Committed]) {
        let mut stale = self.stale();
        for event in events {
            match event.kind.as_str() {
                CHANGED | PROVISIONED => _ = stale.tenants.insert(event.tenant),
                PLATFORM_CHANGED => stale.platform = true,
                _ => {}
            }
        }
        if *stale != Stale::default() {
            self.0.told.notify_one();
        }
    }

    /// Waits until something was heard.
    pub(crate) async fn told(&self) {
        self.0.told.notified().await;
    }

    /// Takes what is to be read anew.
    pub(crate) fn take_stale(&self) -> Stale {
        std::mem::take(&mut *self.stale())
    }

    /// Puts back what could not be read.
    pub(crate) fn put_back(&self, unread: Stale) {
        let mut stale = self.stale();
        stale.tenants.extend(unread.tenants);
        stale.platform |= unread.platform;
    }

    fn stale(&self) -> MutexGuard<'_, Stale> {
        self.0.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Features for Flags {
    fn is_on(&self, tenant: TenantId, key: &str) -> bool {
        self.decision(tenant, key).on
    }

    fn open<'a>(
        &'a self,
        store: &'a Store,
        look: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = Result<Following>> + Send + 'a>> {
        Box::pin(follow::open(self, store, look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_turns_switches_makes_something_stale_and_it_can_be_put_back() {
        let flags = Flags::new(vec![]);
        let (tenant, made) = (TenantId::new(), TenantId::new());
        let event = |tenant, kind: &str| Committed { id: None, tenant, kind: kind.to_owned(), subject: String::new() };
        flags.hear(&[event(TenantId::new(), "inventory.item.created")]);
        assert_eq!(flags.take_stale(), Stale::default());
        flags.hear(&[event(tenant, CHANGED), event(tenant, CHANGED), event(made, PROVISIONED)]);
        let taken = flags.take_stale();
        assert_eq!(taken, Stale { tenants: [tenant, made].into(), platform: false });
        flags.hear(&[event(tenant, PLATFORM_CHANGED)]);
        flags.put_back(taken);
        assert_eq!(flags.take_stale(), Stale { tenants: [tenant, made].into(), platform: true });
        assert_eq!(flags.take_stale(), Stale::default());
    }
}
