//! The flags service: named switches, on or off, which a tenant turns for itself and the platform for
//! everybody. This file is the manifest. Not for experiments or rollouts, and not for what a switch
//! switches: whoever stands behind one declares it.

mod declared;
mod flag;
mod follow;
mod migrations;
mod platform;
mod platform_switch;
mod provision;
mod standing;
mod state;
mod switch;
mod turning;

use std::sync::Arc;

use service::{Audience, EventType, Feature, PermissionType, Role, Service};
use store::Constraint;

pub use crate::state::Flags;

/// Returns the service, given the switches that operations of other services stand behind.
pub fn service(declared: Vec<Feature>) -> Service {
    let flags = Flags::new(declared);
    Service::new("flags", "Feature flags of a tenant and of the platform")
        .routes([flag::operation()])
        .routes(switch::operations())
        .routes([platform::operation()])
        .routes(platform_switch::operations())
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
        .provisions(provision::part())
        .knows_features(Arc::new(flags.clone()))
        .extension(flags)
}

const PERMISSIONS: [PermissionType; 4] = [
    PermissionType { name: "flags.flags.read", role: Role::Admin, summary: "See the flags" },
    PermissionType { name: "flags.flags.write", role: Role::Admin, summary: "Turn flags on and off" },
    PermissionType { name: "flags.platform.read", role: Role::Superadmin, summary: "See the platform's flags" },
    PermissionType {
        name: "flags.platform.write",
        role: Role::Superadmin,
        summary: "Turn flags on and off for every tenant",
    },
];

/// A tenant turned a flag.
const CHANGED: &str = "flags.flag.changed";
/// The platform turned a flag for everybody, or left it to the tenants.
const PLATFORM_CHANGED: &str = "flags.platform_flag.changed";

const EVENTS: [EventType; 2] = [
    EventType {
        name: CHANGED,
        audience: Audience::Members,
        retention_days: None,
        summary: "A flag was turned on or off",
    },
    EventType {
        name: PLATFORM_CHANGED,
        audience: Audience::Admins,
        retention_days: None,
        summary: "A superadmin working in this organisation turned a flag for everybody, or left it to the tenants",
    },
];

const CONSTRAINTS: [Constraint; 1] = [Constraint {
    name: "flags_flag_key",
    columns: "flags_flag.tenant_id, flags_flag.key",
    code: "flags.key_taken",
    message: "there is a flag with this key",
}];
