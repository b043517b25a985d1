//! The one list of all services. A new service is one line here. Not for wiring, which is `serve`.

use identity::Identity;
use service::{Service, event_log};
use store::Migrations;

/// Returns every service that has tables or routes of its own, in the order of their migrations.
pub fn all(identity: &Identity) -> Vec<Service> {
    let mut services = vec![
        identity::service(identity.clone()), // people, memberships, sign-in
        tenants::service(),                  // organisations and their life cycle
        inventory::service(),                // items and their stock
    ];
    // The log is read by the types that all others declare, so it comes last.
    services.push(event_log(&services));
    services
}

/// Returns every service for reading about it: tables, routes, permissions. It signs nobody in.
pub fn described() -> Vec<Service> {
    let identity = Identity::new(identity::Settings::default()).expect("the default settings are sound");
    all(&identity)
}

/// Returns the migrations of all services.
pub fn migrations(services: &[Service]) -> Vec<Migrations> {
    services.iter().map(|service| service.migrations).collect()
}
