//! The tables of the inventory service, step by step; a released step never changes.

use store::{Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] =
    &[Step { name: "0001_items", apply: items }, Step { name: "0002_low_stock", apply: low_stock }];

fn low_stock(schema: &mut Schema) {
    schema.add_column("inventory_item", "short_since_version", Type::Integer, None);
}

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
