//! The tables of the analytics service, step by step; a released step never changes.

use store::{Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[Step { name: "0001_inventory", apply: inventory }];

fn inventory(schema: &mut Schema) {
    schema.tenant_bookkeeping("analytics_item", |table| {
        table.column("sku", Type::Text);
        table.column("name", Type::Text);
        table.column("unit", Type::Text);
        table.column("quantity", Type::Integer);
        table.nullable("low_stock_level", Type::Integer);
        table.nullable("unit_cost", Type::Integer);
        table.nullable("stock_value", Type::Integer);
        table.nullable("first_day", Type::Integer);
        table.column("deleted", Type::Boolean);
        table.column("last_version", Type::Integer);
    });
    schema.tenant_bookkeeping("analytics_item_day", |table| {
        table.column("item_id", Type::Uuid);
        table.column("day", Type::Integer);
        table.column("in_quantity", Type::Integer);
        table.column("out_quantity", Type::Integer);
        table.column("corrected_quantity", Type::Integer);
        table.column("in_amount", Type::Integer);
        table.column("out_amount", Type::Integer);
        table.column("out_without_amount", Type::Integer);
        table.column("movements", Type::Integer);
        table.references("item_id", "analytics_item");
        table.unique("analytics_item_day_once", &["item_id", "day"]);
        // Holds all that is summed over a window, so that the rows need not be read.
        table.index(
            "analytics_item_day_window",
            &[
                "day",
                "item_id",
                "out_quantity",
                "in_quantity",
                "corrected_quantity",
                "in_amount",
                "out_amount",
                "out_without_amount",
                "movements",
            ],
        );
    });
    schema.tenant_bookkeeping("analytics_progress", |table| {
        table.column("position", Type::Integer);
        table.column("occurred_at", Type::Integer);
    });
}
