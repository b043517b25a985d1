//! A service with one resource and one action, as small as they come: the worked example of
//! `docs/adding-a-resource.md`. Not part of the product; no installation runs it.

mod approve;
mod migrations;
mod supplier;

use service::{Audience, EventType, PermissionType, Role, Service, crud};
use store::Constraint;

pub use supplier::Supplier;

/// Returns the service.
pub fn service() -> Service {
    Service::new("example", "Suppliers, as an example")
        .routes(crud::<Supplier>())
        .routes([approve::operation()])
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
}

const PERMISSIONS: [PermissionType; 6] = [
    permission("example.suppliers.read", Role::Viewer, "See suppliers"),
    permission("example.suppliers.write", Role::Staff, "Create and change suppliers"),
    permission("example.suppliers.delete", Role::Staff, "Delete suppliers"),
    permission("example.suppliers.restore", Role::Admin, "See and restore deleted suppliers"),
    permission("example.suppliers.export", Role::Admin, "Export all suppliers"),
    permission("example.suppliers.approve", Role::Admin, "Approve suppliers"),
];

const fn permission(name: &'static str, role: Role, summary: &'static str) -> PermissionType {
    PermissionType { name, role, summary }
}

const EVENTS: [EventType; 5] = [
    event("example.supplier.created", "A supplier was created"),
    event("example.supplier.updated", "A supplier was changed"),
    event("example.supplier.deleted", "A supplier was deleted"),
    event("example.supplier.restored", "A deleted supplier was restored"),
    event("example.supplier.approved", "A supplier was approved; data tells up to which amount"),
];

const fn event(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Staff, retention_days: None, summary }
}

const CONSTRAINTS: [Constraint; 1] = [Constraint {
    name: "example_supplier_name",
    columns: "example_supplier.tenant_id, example_supplier.name",
    code: "example.supplier_name_taken",
    message: "another supplier has this name",
}];
