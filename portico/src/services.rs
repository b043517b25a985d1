//! The one list of all services. A new service is one line here. Not for wiring, which is `serve`.

use identity::Identity;
use inventory::Inventory;
use kernel::Result;
use notifications::Notifications;
use service::{Provisioning, Service, declared_features, event_log, task_service};
use store::Migrations;
use webhooks::Webhooks;

use crate::config::Config;

/// What services keep in memory, made from their settings; opened when the process starts.
#[derive(Clone)]
pub struct States {
    /// Signs people in.
    pub identity: Identity,
    /// Predicts quality, and knows laboratories' secrets.
    pub inventory: Inventory,
    /// Tells people.
    pub notifications: Notifications,
    /// Tells tenants' systems.
    pub webhooks: Webhooks,
}

impl States {
    /// Returns the states under these settings.
    pub fn new(config: &Config) -> Result<Self> {
        let mut notifications = config.notifications.clone();
        if notifications.public_url.is_empty() {
            notifications.public_url = match config.server.public_url.as_str() {
                "" => format!("http://{}", config.server.listen),
                public => public.to_owned(),
            };
        }
        Ok(Self {
            identity: Identity::new(config.identity.clone())?,
            inventory: Inventory::default(),
            notifications: Notifications::new(notifications)?,
            webhooks: Webhooks::new(config.webhooks.clone())?,
        })
    }
}

/// Returns every service that has tables or routes of its own, in the order of their migrations.
pub fn all(states: &States) -> Vec<Service> {
    let mut services = vec![
        identity::service(states.identity.clone()), // people, memberships, sign-in
        inventory::with(states.inventory.clone()),  // items and their stock
        analytics::service(),                       // figures over what others do
        usage::service(),                           // what calls of language models may use, and have used
        webhooks::service(states.webhooks.clone()), // tells tenants' systems what changed
        notifications::service(states.notifications.clone()), // tells people what concerns them
        task_service(),                             // work that outlives a request, as its owner sees it
    ];
    services.insert(1, flags::service(declared_features(&services))); // switches that operations stand behind
    // A tenant is made of the parts that the others declare.
    let parts: Vec<Provisioning> = services.iter().flat_map(|service| service.provisioning.iter().cloned()).collect();
    services.insert(1, tenants::service(parts)); // organisations and their life cycle
    // The log and its sockets are read by the types that all others declare, so they come last.
    services.push(event_log(&services));
    services.push(live::service(&services));
    services
}

/// Returns every service for reading about it: tables, routes, permissions. It signs nobody in.
pub fn described() -> Vec<Service> {
    all(&States::new(&Config::default()).expect("the default settings are sound"))
}

/// Returns the migrations of all services.
pub fn migrations(services: &[Service]) -> Vec<Migrations> {
    services.iter().map(|service| service.migrations).collect()
}
