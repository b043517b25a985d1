//! The inventory service: items and the append-only ledger of their stock. This file is the
//! manifest; each resource and each action has a file of its own. Not for analytics, flags or
//! notifications, which live in their own services and follow the events.

mod adjust;
mod batch;
mod export;
mod import;
mod item;
mod low_stock;
mod migrations;
mod movement;
mod overview;
mod qc_webhook;
mod quality;
mod removal;
mod reservation;
mod reverse;
mod settings;
mod state;
mod stock;
mod verify;

use service::{Audience, EventType, PermissionType, Role, Service, crud};
use store::Constraint;
use tasks::Schedule;

pub use item::Item;
pub use movement::{Movement, Reason};
pub use quality::{
    Grade, Input, Measurements, ModelInfo, ModelKind, Predicting, Prediction, QualityModel, QualityReason, Sample,
};
pub use state::Inventory;
pub use verify::{Drift, LEDGER, Verification, verify};

/// Returns the service over a state of its own: with the rules that are built in, and closed to
/// laboratories.
pub fn service() -> Service {
    with(Inventory::default())
}

/// Returns the service over this state.
pub fn with(inventory: Inventory) -> Service {
    Service::new("inventory", "Items, stock adjustments and their ledger")
        .routes(crud::<Item>().into_iter().filter(|operation| operation.id != "inventory_delete_item"))
        .routes([removal::operation(), adjust::operation(), movement::operation(), reverse::operation()])
        .routes(batch::operations())
        .routes(reservation::operations())
        .routes(settings::operations())
        .routes([quality::operation()])
        .routes(qc_webhook::operations())
        .routes([verify::operation(), export::operation()])
        .routes(import::operations())
        .jobs([import::job()])
        .schedules([import::schedule()])
        .routes([overview::operation()])
        .schedules([
            Schedule::new("inventory.verify", "41 2 * * *", verify::Daily),
            Schedule::new("inventory.expire_reservations", "* * * * *", reservation::Sweep),
        ])
        .schedules([qc_webhook::schedule()])
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS.iter().copied())
        .events(EVENTS.iter().copied())
        .constraints(CONSTRAINTS.iter().copied())
        .extension(inventory)
}

const PERMISSIONS: &[PermissionType] = &[
    PermissionType { name: "inventory.items.read", role: Role::Viewer, summary: "See items and their stock" },
    PermissionType { name: "inventory.items.write", role: Role::Staff, summary: "Create and change items" },
    PermissionType { name: "inventory.items.delete", role: Role::Staff, summary: "Delete items" },
    PermissionType { name: "inventory.items.adjust", role: Role::Staff, summary: "Change the stock of items" },
    PermissionType { name: "inventory.movements.read", role: Role::Staff, summary: "See the ledger" },
    PermissionType { name: "inventory.items.restore", role: Role::Admin, summary: "See and restore deleted items" },
    PermissionType { name: "inventory.items.export", role: Role::Admin, summary: "Export all items" },
    PermissionType { name: "inventory.items.import", role: Role::Admin, summary: "Import items and movements" },
    PermissionType { name: "inventory.movements.export", role: Role::Admin, summary: "Export the whole ledger" },
    PermissionType { name: "inventory.settings.write", role: Role::Admin, summary: "Change how stock is kept" },
    PermissionType { name: "inventory.batches.read", role: Role::Viewer, summary: "See batches" },
    PermissionType { name: "inventory.batches.write", role: Role::Staff, summary: "Enter and change batches" },
    PermissionType { name: "inventory.batches.qc", role: Role::Staff, summary: "Record quality checks of batches" },
    PermissionType { name: "inventory.batches.delete", role: Role::Staff, summary: "Delete batches" },
    PermissionType { name: "inventory.batches.restore", role: Role::Admin, summary: "See and restore deleted batches" },
    PermissionType { name: "inventory.batches.export", role: Role::Admin, summary: "Export all batches" },
    PermissionType { name: "inventory.reservations.read", role: Role::Viewer, summary: "See reservations" },
    PermissionType {
        name: "inventory.reservations.write",
        role: Role::Staff,
        summary: "Reserve units and take what is reserved",
    },
    PermissionType { name: "inventory.quality.predict", role: Role::Viewer, summary: "Have quality predicted" },
    PermissionType { name: "inventory.qc_keys.manage", role: Role::Admin, summary: "Manage the keys of laboratories" },
];

const EVENTS: &[EventType] = &[
    event("inventory.item.created", "An item was created"),
    event("inventory.item.updated", "An item's description was changed"),
    event("inventory.item.adjusted", "An item's stock was changed; data tells by how much and why"),
    event("inventory.item.low_stock", "An item has become short; data tells what is left and the level"),
    event("inventory.item.deleted", "An item was deleted"),
    event("inventory.item.restored", "A deleted item was restored"),
    event("inventory.import.taken", "A file was taken to be imported; data tells how"),
    event("inventory.import.finished", "An import is over; data tells how many rows were applied and left out"),
    event("inventory.item.reserved", "How much of an item is reserved was changed; data tells by how much"),
    event("inventory.batch.created", "A batch was entered"),
    event("inventory.batch.updated", "A batch's description was changed"),
    event("inventory.batch.received", "Units of a batch came in; data tells how many"),
    event("inventory.batch.consumed", "Units of a batch were taken; data tells how many, why, and what is left"),
    event("inventory.batch.adjusted", "A movement of a batch was taken back"),
    event("inventory.batch.qc_passed", "A batch passed its quality check"),
    event("inventory.batch.qc_failed", "A batch failed its quality check, and is in quarantine"),
    event("inventory.batch.deleted", "A batch was deleted"),
    event("inventory.batch.restored", "A deleted batch was restored"),
    event("inventory.reservation.created", "Units were reserved"),
    event("inventory.reservation.extended", "A reservation was given more time"),
    event("inventory.reservation.consumed", "The units of a reservation were taken"),
    event("inventory.reservation.released", "A reservation was given up"),
    event("inventory.reservation.expired", "A reservation's time was up"),
    event("inventory.settings.created", "Somebody said how stock is kept"),
    event("inventory.settings.updated", "Somebody changed how stock is kept"),
    audit("inventory.qc_key.created", "A key for the QC webhook was made"),
    audit(
        "inventory.qc_key.rotated",
        "A key of the QC webhook got a new secret; data tells until when the old one is taken",
    ),
    audit("inventory.qc_key.revoked", "A key of the QC webhook was revoked"),
];

const fn event(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Staff, retention_days: None, summary }
}

const fn audit(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Admins, retention_days: None, summary }
}

const CONSTRAINTS: &[Constraint] = &[
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
    Constraint {
        name: "inventory_batch_code",
        columns: "inventory_batch.tenant_id, inventory_batch.item_id, inventory_batch.code",
        code: "inventory.batch_code_taken",
        message: "another batch of the item has this code",
    },
    Constraint {
        name: "inventory_batch_quantity",
        columns: "inventory_batch_quantity",
        code: "inventory.quantity_out_of_range",
        message: "the batch would leave the range that can be counted",
    },
    Constraint {
        name: "inventory_movement_reverses",
        columns: "inventory_movement.tenant_id, inventory_movement.reverses",
        code: "inventory.already_reversed",
        message: "the movement was taken back before",
    },
];
