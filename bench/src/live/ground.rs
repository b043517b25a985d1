//! A database for what is measured in this process: a few organisations, one open store. Not for
//! people, and not for servers.

use std::time::Instant;

use kernel::{Answer, PermissionSet, TenantId};
use store::{Config, Engine, Event, Purpose, Store};

use crate::people::People;
use crate::{Outcome, Plan};

/// An open store with organisations in it.
pub struct Ground {
    pub engine: Engine,
    pub store: Store,
    pub tenants: Vec<TenantId>,
    /// The database goes when this does.
    _people: People,
}

impl Ground {
    /// Makes a database with so many organisations.
    pub fn make(plan: &Plan, engine: Engine, tenants: usize) -> Outcome<Self> {
        let people = People::make(plan, engine, 1, 0)?;
        plan.runtime.block_on(async {
            let config = Config { connections: 32, acquire_timeout_ms: 60_000, ..people.config().clone() };
            let store = Store::open(config, kernel::Clock::system()).await?;
            let system = store.system(Purpose::Bootstrap).await?;
            let mut ids = Vec::new();
            for number in 0..tenants {
                ids.push(system.create_tenant(&format!("ground-{number}"), "Somebody who works much").await?.id);
            }
            system.commit().await?;
            Ok(Self { engine, store, tenants: ids, _people: people })
        })
    }

    /// Closes the store.
    pub fn close(self, plan: &Plan) {
        plan.runtime.block_on(self.store.close());
    }
}

/// Writes one event in a transaction of its own, and says when it was acknowledged.
pub async fn write(store: &Store, tenant: TenantId, kind: &str, subject: &str, text: &str) -> Outcome<Instant> {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    writer.record(Event::about(kind, subject, serde_json::json!({ "text": text }))).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(Instant::now())
}

/// Numbers events as a running process does: when something was committed, and now and then.
pub async fn relay(store: Store) {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    let mut committed = store.committed();
    loop {
        committed.borrow_and_update();
        if store::assign_positions(&store).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        let _ = tokio::time::timeout(PAUSE, committed.changed()).await;
    }
}
