//! The tenants service: what an organisation is called, what it has booked and may use, whether its
//! people may work, and making one for somebody else. This file is the manifest. Not for registration
//! and not for an organisation's people.

mod change;
mod making;
mod migrations;
mod organization;
mod provision;
mod quota;
mod settings;
mod suspension;
mod tenant;

use std::sync::Arc;

use service::{Audience, EventType, PermissionType, Provisioning, Role, Service};
use store::Constraint;

/// Returns the service, given the parts that other services have in making a tenant.
pub fn service(parts: Vec<Provisioning>) -> Service {
    let making = making::Making::of(parts);
    Service::new("tenants", "Organisations and whether they may work")
        .routes(organization::operations())
        .routes(tenant::operations())
        .routes(suspension::operations())
        .routes(quota::operations())
        .routes([provision::operation()])
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
        .sagas([making.saga.clone()])
        .extension(Arc::new(making))
}

/// Asked for inside the handler as well: only some bodies need it.
const WRITE_PLAN: &str = "tenants.plan.write";

const PERMISSIONS: [PermissionType; 9] = [
    PermissionType {
        name: "tenants.organization.write",
        role: Role::Admin,
        summary: "Change the organisation's name, time zone and currency",
    },
    PermissionType { name: "tenants.tenant.read", role: Role::Admin, summary: "See the organisation as a tenant" },
    PermissionType { name: "tenants.tenant.write", role: Role::Admin, summary: "Change the organisation as a tenant" },
    PermissionType { name: "tenants.tenants.read", role: Role::Superadmin, summary: "See all tenants" },
    PermissionType { name: "tenants.tenants.suspend", role: Role::Superadmin, summary: "Suspend and activate tenants" },
    PermissionType { name: "tenants.tenants.provision", role: Role::Superadmin, summary: "Make tenants" },
    PermissionType { name: "tenants.quotas.read", role: Role::Admin, summary: "See what the organisation may use" },
    PermissionType { name: "tenants.quotas.write", role: Role::Superadmin, summary: "Change what a tenant may use" },
    PermissionType { name: WRITE_PLAN, role: Role::Superadmin, summary: "Change what a tenant has booked" },
];

const EVENTS: [EventType; 5] = [
    event("tenants.tenant.provisioned", "The organisation was made"),
    event("tenants.tenant.updated", "The organisation was changed; data tells what, from what to what"),
    event("tenants.tenant.suspended", "The organisation's people may no longer work; data tells why"),
    event("tenants.quota.changed", "What the organisation may use was changed; data tells from what to what"),
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
