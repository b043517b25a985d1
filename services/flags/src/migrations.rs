//! The tables of the flags service, step by step; a released step never changes.

use store::{Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] =
    &[Step { name: "0001_flags", apply: flags }, Step { name: "0002_platform_flags", apply: platform_flags }];

/// What the platform says of a key, and who may know how everybody's flags stand.
fn platform_flags(schema: &mut Schema) {
    schema.add_column("flags_flag", "description", Type::Text, None);
    schema.open_to("flags_flag", Purpose::Switches, "SELECT");
    schema.system_table("flags_platform_flag", &[(Purpose::Switches, "SELECT, INSERT, UPDATE")], |table| {
        table.column("key", Type::Text);
        table.nullable("enabled", Type::Boolean);
        table.nullable("description", Type::Text);
        table.nullable("reason", Type::Text);
        table.column("version", Type::Integer);
        table.column("updated_at", Type::Integer);
        table.column("updated_by", Type::Text);
        table.rule("PRIMARY KEY (key)");
    });
    // Turning one is an event in the log of the tenant that the superadmin works in.
    schema.open_to("event_log", Purpose::Switches, "INSERT");
    // Which tenants are still being made: theirs are not known before they are.
    schema.grant("tenant", Purpose::Switches, "SELECT");
}

fn flags(schema: &mut Schema) {
    schema.tenant_table("flags_flag", |table| {
        table.column("key", Type::Text);
        table.column("enabled", Type::Boolean);
        table.unique_live("flags_flag_key", &["key"]);
    });
    // The first flags of a tenant that is being made, which may be taken back for good.
    schema.open_to("flags_flag", Purpose::Bootstrap, "SELECT, INSERT, DELETE");
}
