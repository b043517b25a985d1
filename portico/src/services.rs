//! The one list of all services. A new service is one line here. Not for wiring, which is `serve`.

use service::{Service, event_log};
use store::Migrations;

/// Returns every service that has tables or routes of its own, in the order of their migrations.
pub fn all() -> Vec<Service> {
    let mut services = vec![
        identity::service(),  // people, memberships, sign-in
        inventory::service(), // items and their stock
    ];
    // The log is read by the types that all others declare, so it comes last.
    services.push(event_log(&services));
    services
}

/// Returns the migrations of all services.
pub fn migrations(services: &[Service]) -> Vec<Migrations> {
    services.iter().map(|service| service.migrations).collect()
}
