//! The tenants service: what an organisation is called, what it has booked and whether its people
//! may work. This file is the manifest. Not for making organisations, which registration does, and
//! not for their people.

mod change;
mod organization;
mod settings;
mod suspension;
mod tenant;

use service::{Audience, EventType, PermissionType, Role, Service};
use store::Constraint;

/// Returns the service.
pub fn service() -> Service {
    Service::new("tenants", "Organisations and whether they may work")
        .routes(organization::operations())
        .routes(tenant::operations())
        .routes(suspension::operations())
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
}

/// Asked for inside the handler as well: only some bodies need it.
const WRITE_PLAN: &str = "tenants.plan.write";

const PERMISSIONS: [PermissionType; 6] = [
    PermissionType {
        name: "tenants.organization.write",
        role: Role::Admin,
        summary: "Change the organisation's name, time zone and currency",
    },
    PermissionType { name: "tenants.tenant.read", role: Role::Admin, summary: "See the organisation as a tenant" },
    PermissionType { name: "tenants.tenant.write", role: Role::Admin, summary: "Change the organisation as a tenant" },
    PermissionType { name: "tenants.tenants.read", role: Role::Superadmin, summary: "See all tenants" },
    PermissionType { name: "tenants.tenants.suspend", role: Role::Superadmin, summary: "Suspend and activate tenants" },
    PermissionType { name: WRITE_PLAN, role: Role::Superadmin, summary: "Change what a tenant has booked" },
];

const EVENTS: [EventType; 4] = [
    event("tenants.tenant.provisioned", "The organisation was made"),
    event("tenants.tenant.updated", "The organisation was changed; data tells what, from what to what"),
    event("tenants.tenant.suspended", "The organisation's people may no longer work; data tells why"),
    event("tenants.tenant.activated", "The organisation's people may work again; data tells why"),
];

const fn event(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Admins, retention_days: None, summary }
}

const CONSTRAINTS: [Constraint; 1] = [Constraint {
    name: "tenant_slug",
    columns: "tenant.slug",
    code: "tenants.slug_taken",
    message: "another organisation has this short name",
}];
