//! The tables of the flags service, step by step; a released step never changes.

use store::{Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[Step { name: "0001_flags", apply: flags }];

fn flags(schema: &mut Schema) {
    schema.tenant_table("flags_flag", |table| {
        table.column("key", Type::Text);
        table.column("enabled", Type::Boolean);
        table.unique_live("flags_flag_key", &["key"]);
    });
    // The first flags of a tenant that is being made, which may be taken back for good.
    schema.open_to("flags_flag", Purpose::Bootstrap, "SELECT, INSERT, DELETE");
}
