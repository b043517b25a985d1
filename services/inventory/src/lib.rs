//! The inventory service: items and the append-only ledger of their stock. This file is the
//! manifest; each resource and each action has a file of its own. Not for analytics, flags or
//! notifications, which live in their own services and follow the events.

mod adjust;
mod item;
mod low_stock;
mod migrations;
mod movement;

use service::{Audience, EventType, PermissionType, Role, Service, crud};
use store::Constraint;

pub use item::Item;
pub use movement::{Movement, Reason};

/// Returns the service.
pub fn service() -> Service {
    Service::new("inventory", "Items, stock adjustments and their ledger")
        .routes(crud::<Item>())
        .routes([adjust::operation(), movement::operation()])
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
}

const PERMISSIONS: [PermissionType; 7] = [
    PermissionType { name: "inventory.items.read", role: Role::Viewer, summary: "See items and their stock" },
    PermissionType { name: "inventory.items.write", role: Role::Staff, summary: "Create and change items" },
    PermissionType { name: "inventory.items.delete", role: Role::Staff, summary: "Delete items" },
    PermissionType { name: "inventory.items.adjust", role: Role::Staff, summary: "Change the stock of items" },
    PermissionType { name: "inventory.movements.read", role: Role::Staff, summary: "See the ledger" },
    PermissionType { name: "inventory.items.restore", role: Role::Admin, summary: "See and restore deleted items" },
    PermissionType { name: "inventory.items.export", role: Role::Admin, summary: "Export all items" },
];

const EVENTS: [EventType; 6] = [
    event("inventory.item.created", "An item was created"),
    event("inventory.item.updated", "An item's description was changed"),
    event("inventory.item.adjusted", "An item's stock was changed; data tells by how much and why"),
    event("inventory.item.low_stock", "An item has become short; data tells what is left and the level"),
    event("inventory.item.deleted", "An item was deleted"),
    event("inventory.item.restored", "A deleted item was restored"),
];

const fn event(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Staff, retention_days: None, summary }
}

const CONSTRAINTS: [Constraint; 2] = [
    Constraint {
        name: "inventory_item_sku",
        columns: "inventory_item.tenant_id, inventory_item.sku",
        code: "inventory.sku_taken",
        message: "another item has this SKU",
    },
    Constraint {
        name: "inventory_item_quantity",
        columns: "inventory_item_quantity",
        code: "inventory.quantity_out_of_range",
        message: "the stock would leave the range that can be counted",
    },
];
