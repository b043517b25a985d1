//! The tables of the example, step by step; a released step never changes.

use store::{Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[Step { name: "0001_suppliers", apply: suppliers }];

fn suppliers(schema: &mut Schema) {
    schema.tenant_table("example_supplier", |table| {
        table.column("name", Type::Text);
        table.nullable("note", Type::Text);
        table.nullable("order_limit", Type::Integer);
        table.check("example_supplier_order_limit", "order_limit > 0");
        table.unique_live("example_supplier_name", &["name"]);
    });
}
