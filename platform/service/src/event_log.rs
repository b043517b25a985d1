//! The event log over HTTP: as a list, and as a stream of what happens. Each type of event says who
//! may learn of it, and both ask the same question. Not for sockets, which stand on the same log.

mod following;
mod list;
mod selection;
mod stream;

use std::sync::Arc;

use crate::manifest::{Audience, EventType, PermissionType, Role, Service};
use crate::operation::Operation;
use selection::Catalogue;

const READ: [(Audience, PermissionType); 3] = [
    (
        Audience::Members,
        PermissionType {
            name: "events.members.read",
            role: Role::Viewer,
            summary: "See events that every member may see",
        },
    ),
    (
        Audience::Staff,
        PermissionType { name: "events.staff.read", role: Role::Staff, summary: "See events that staff may see" },
    ),
    (
        Audience::Admins,
        PermissionType { name: "events.admins.read", role: Role::Admin, summary: "See the audit trail" },
    ),
];

/// What it takes to follow the events of other tenants.
const READ_TENANTS: PermissionType =
    PermissionType { name: "events.tenants.read", role: Role::Superadmin, summary: "Follow the events of all tenants" };

/// What every service may publish.
const COMMON: [EventType; 4] = [
    EventType {
        name: "audit.export",
        audience: Audience::Admins,
        retention_days: None,
        summary: "Somebody exported a collection",
    },
    EventType {
        name: "audit.watch",
        audience: Audience::Admins,
        retention_days: Some(365),
        summary: "Somebody who runs the platform followed the events of other tenants",
    },
    EventType {
        name: "system.alert.raised",
        audience: Audience::Admins,
        retention_days: Some(365),
        summary: "Something needs a person; data tells what, and what to do",
    },
    EventType {
        name: "events.subscription.skipped",
        audience: Audience::Admins,
        retention_days: None,
        summary: "An operator let a subscription go on without an event; the reason says why",
    },
];

/// Returns the service that reads the log, given the types that the other services publish.
pub fn event_log(services: &[Service]) -> Service {
    let declared = services.iter().flat_map(|service| service.events.iter().copied()).chain(COMMON);
    let catalogue = Arc::new(Catalogue::of(declared));
    let operations: [Operation; 2] = [list::operation(catalogue.clone()), stream::operation(catalogue)];
    Service::new("events", "The log of what changed")
        .routes(operations)
        .permissions(READ.map(|(_, permission)| permission))
        .permissions([READ_TENANTS])
        .events(COMMON)
        .migrations(events::MIGRATIONS.steps)
}
