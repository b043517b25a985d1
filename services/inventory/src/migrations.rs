//! The tables of the inventory service, step by step; a released step never changes.

use store::{Engine, Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "0001_items", apply: items },
    Step { name: "0002_low_stock", apply: low_stock },
    Step { name: "0003_stock", apply: stock },
    Step { name: "0004_batches", apply: batches },
    Step { name: "0005_reservations", apply: reservations },
    Step { name: "0006_settings", apply: settings },
    Step { name: "0010_qc_keys", apply: crate::qc_webhook::make_tables },
    Step { name: "0020_imports", apply: crate::import::tables },
];

fn items(schema: &mut Schema) {
    schema.tenant_table("inventory_item", |table| {
        table.column("sku", Type::Text);
        table.column("name", Type::Text);
        table.nullable("description", Type::Text);
        table.column("unit", Type::Text);
        table.column("quantity", Type::Integer);
        table.nullable("low_stock_level", Type::Integer);
        table.check("inventory_item_quantity", "quantity >= 0 AND quantity <= 9000000000000000");
        table.unique_live("inventory_item_sku", &["sku"]);
        table.index("inventory_item_name", &["name", "id"]);
    });
    schema.tenant_ledger("inventory_movement", |table| {
        table.column("item_id", Type::Uuid);
        table.column("delta", Type::Integer);
        table.column("reason", Type::Text);
        table.nullable("note", Type::Text);
        table.references("item_id", "inventory_item");
        table.index("inventory_movement_item", &["item_id", "id"]);
    });
}

fn low_stock(schema: &mut Schema) {
    schema.add_column("inventory_item", "short_since_version", Type::Integer, None);
}

/// Stock may be reserved, cost something and, where a tenant wants that, fall below zero.
fn stock(schema: &mut Schema) {
    schema.add_column("inventory_item", "reserved", Type::Integer, Some("0"));
    schema.add_column("inventory_item", "unit_cost", Type::Integer, None);
    schema.add_column("inventory_item", "negative_stock", Type::Text, None);
    schema.sql(Engine::Postgres, "ALTER TABLE inventory_item DROP CONSTRAINT inventory_item_quantity");
    schema.sql(Engine::Postgres, format!("ALTER TABLE inventory_item ADD {IN_RANGE}"));
    // SQLite cannot drop a rule: the table is made anew. Nothing refers to it by more than its name.
    schema.sql(Engine::Sqlite, format!("CREATE TABLE inventory_item_next ({COLUMNS}, {KEYS}, {IN_RANGE})"));
    schema.sql(Engine::Sqlite, format!("INSERT INTO inventory_item_next ({NAMES}) SELECT {NAMES} FROM inventory_item"));
    schema.sql(Engine::Sqlite, "DROP TABLE inventory_item");
    schema.sql(Engine::Sqlite, "ALTER TABLE inventory_item_next RENAME TO inventory_item");
    schema.sql(
        Engine::Sqlite,
        "CREATE UNIQUE INDEX inventory_item_sku ON inventory_item (tenant_id, sku) WHERE deleted_at IS NULL",
    );
    schema.sql(Engine::Sqlite, "CREATE INDEX inventory_item_name ON inventory_item (tenant_id, name, id)");
    schema.add_column("inventory_movement", "occurred_at", Type::Integer, None);
    schema.add_column("inventory_movement", "batch_id", Type::Uuid, None);
    schema.add_column("inventory_movement", "amount", Type::Integer, None);
    schema.add_column("inventory_movement", "reference", Type::Text, None);
    schema.add_column("inventory_movement", "reverses", Type::Uuid, None);
    schema.both("CREATE INDEX inventory_movement_batch ON inventory_movement (tenant_id, batch_id, id)");
    schema.both(
        "CREATE UNIQUE INDEX inventory_movement_reverses ON inventory_movement (tenant_id, reverses) \
         WHERE reverses IS NOT NULL",
    );
    for table in ["inventory_item", "inventory_movement"] {
        schema.open_to(table, Purpose::Health, "SELECT");
    }
}

const IN_RANGE: &str = "CONSTRAINT inventory_item_quantity CHECK \
    (quantity BETWEEN -9000000000000000 AND 9000000000000000 AND reserved BETWEEN 0 AND 9000000000000000)";
const COLUMNS: &str = "tenant_id BLOB NOT NULL, id BLOB NOT NULL, sku TEXT NOT NULL, name TEXT NOT NULL, \
    description TEXT, unit TEXT NOT NULL, quantity BIGINT NOT NULL, low_stock_level BIGINT, \
    version BIGINT NOT NULL, updated_at BIGINT NOT NULL, updated_by TEXT NOT NULL, deleted_at BIGINT, \
    created_at BIGINT NOT NULL, created_by TEXT NOT NULL, short_since_version BIGINT, \
    reserved BIGINT NOT NULL DEFAULT 0, unit_cost BIGINT, negative_stock TEXT";
const KEYS: &str = "PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id) REFERENCES tenant (id)";
const NAMES: &str = "tenant_id, id, sku, name, description, unit, quantity, low_stock_level, version, updated_at, \
    updated_by, deleted_at, created_at, created_by, short_since_version, reserved, unit_cost, negative_stock";

fn batches(schema: &mut Schema) {
    schema.tenant_table("inventory_batch", |table| {
        table.column("item_id", Type::Uuid);
        table.column("code", Type::Text);
        table.column("quantity", Type::Integer);
        table.column("received_quantity", Type::Integer);
        table.column("received_at", Type::Integer);
        table.nullable("expires_at", Type::Integer);
        table.nullable("supplier", Type::Text);
        table.nullable("unit_cost", Type::Integer);
        table.column("qc_state", Type::Text);
        table.nullable("qc_grade", Type::Text);
        table.nullable("qc_note", Type::Text);
        table.nullable("qc_at", Type::Integer);
        table.references("item_id", "inventory_item");
        table.check("inventory_batch_quantity", "quantity >= 0 AND quantity <= 9000000000000000");
        table.unique_live("inventory_batch_code", &["item_id", "code"]);
        table.index("inventory_batch_first_expired", &["item_id", "expires_at", "received_at", "id"]);
    });
    schema.open_to("inventory_batch", Purpose::Health, "SELECT");
    // How many of an item's units are in batches, so that the statement that takes loose ones sees it.
    schema.add_column("inventory_item", "batched", Type::Integer, Some("0"));
}

fn reservations(schema: &mut Schema) {
    schema.tenant_table("inventory_reservation", |table| {
        table.column("item_id", Type::Uuid);
        table.column("quantity", Type::Integer);
        table.column("state", Type::Text);
        table.column("expires_at", Type::Integer);
        table.nullable("reference", Type::Text);
        table.column("extended", Type::Boolean);
        table.nullable("ended_at", Type::Integer);
        table.references("item_id", "inventory_item");
        table.check("inventory_reservation_quantity", "quantity > 0 AND quantity <= 1000000000000000");
        table.index("inventory_reservation_open", &["item_id", "state", "expires_at"]);
        table.index_across("inventory_reservation_due", &["expires_at"], "state = 'open'");
    });
    schema.open_to("inventory_reservation", Purpose::Health, "SELECT");
    schema.open_to("inventory_reservation", Purpose::Housekeeping, "SELECT");
}

fn settings(schema: &mut Schema) {
    schema.tenant_table("inventory_settings", |table| {
        table.column("negative_stock", Type::Text);
        // One row a tenant.
        table.column("singleton", Type::Integer);
        table.unique_live("inventory_settings_singleton", &["singleton"]);
    });
}
