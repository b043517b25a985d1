//! The flags service: named switches of a tenant, on or off. This file is the manifest. Not for the
//! platform's own switches, not for experiments, and not for what a switch switches: whoever asks for
//! one decides that.

mod flag;
mod migrations;
mod provision;
mod switch;

use service::{Audience, EventType, PermissionType, Role, Service};
use store::Constraint;

/// Returns the service.
pub fn service() -> Service {
    Service::new("flags", "Feature flags of a tenant")
        .routes([flag::operation()])
        .routes(switch::operations())
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
        .provisions(provision::part())
}

const PERMISSIONS: [PermissionType; 2] = [
    PermissionType { name: "flags.flags.read", role: Role::Admin, summary: "See the flags" },
    PermissionType { name: "flags.flags.write", role: Role::Admin, summary: "Turn flags on and off" },
];

const EVENTS: [EventType; 1] = [EventType {
    name: "flags.flag.changed",
    audience: Audience::Members,
    retention_days: None,
    summary: "A flag was turned on or off",
}];

const CONSTRAINTS: [Constraint; 1] = [Constraint {
    name: "flags_flag_key",
    columns: "flags_flag.tenant_id, flags_flag.key",
    code: "flags.key_taken",
    message: "there is a flag with this key",
}];
