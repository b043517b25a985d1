//! The tables of the usage service, step by step; a released step never changes.

use store::{Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[Step { name: "0001_usage", apply: usage }];

fn usage(schema: &mut Schema) {
    schema.tenant_table("usage_budget", |table| {
        table.column("name", Type::Text);
        table.column("per", Type::Text);
        table.column("period", Type::Text);
        table.column("unit", Type::Text);
        table.column("most", Type::Integer);
        table.column("enabled", Type::Boolean);
        table.unique_live("usage_budget_name", &["name"]);
        table.check("usage_budget_most", "most > 0");
    });
    schema.tenant_bookkeeping("usage_counter", |table| {
        table.column("source", Type::Text);
        table.column("budget", Type::Text);
        table.column("per", Type::Text);
        table.nullable("subject", Type::Text);
        table.column("unit", Type::Text);
        table.column("period", Type::Text);
        table.column("most", Type::Integer);
        table.column("used", Type::Integer);
        table.column("reserved", Type::Integer);
        table.column("at", Type::Integer);
        table.nullable("told", Type::Integer);
        table.column("touched_at", Type::Integer);
        table.check("usage_counter_amounts", "used >= 0 AND reserved >= 0");
        table.index("usage_counter_budget", &["budget", "used"]);
        table.index_across("usage_counter_idle", &["touched_at"], "reserved = 0 AND period <> 'total'");
    });
    schema.tenant_bookkeeping("usage_record", |table| {
        table.column("state", Type::Text);
        table.column("model", Type::Text);
        table.column("route", Type::Text);
        table.column("caller", Type::Text);
        table.column("credential", Type::Text);
        table.column("question", Type::Integer);
        table.column("reserved_tokens", Type::Integer);
        table.column("reserved_nano", Type::Integer);
        table.column("holds", Type::Text);
        table.column("input", Type::Integer);
        table.column("cached", Type::Integer);
        table.column("cache_write", Type::Integer);
        table.column("output", Type::Integer);
        table.column("cost_nano", Type::Integer);
        table.column("estimated", Type::Boolean);
        table.nullable("outcome", Type::Text);
        table.column("lease_ends", Type::Integer);
        table.nullable("settled_at", Type::Integer);
        table.check("usage_record_state", "state IN ('reserved', 'settled', 'lapsed')");
        table.index("usage_record_time", &["created_at", "id"]);
        table.index("usage_record_model", &["model", "created_at", "id"]);
        table.index("usage_record_caller", &["caller", "created_at", "id"]);
        table.index("usage_record_route", &["route", "created_at", "id"]);
        table.index_across("usage_record_lease", &["lease_ends", "id"], "state = 'reserved'");
        table.index_across("usage_record_old", &["created_at"], "state <> 'reserved'");
    });
    schema.tenant_bookkeeping("usage_day", |table| {
        table.column("day", Type::Integer);
        table.column("model", Type::Text);
        table.column("calls", Type::Integer);
        table.column("estimated_calls", Type::Integer);
        table.column("input", Type::Integer);
        table.column("cached", Type::Integer);
        table.column("cache_write", Type::Integer);
        table.column("output", Type::Integer);
        table.column("estimated_tokens", Type::Integer);
        table.column("cost_nano", Type::Integer);
        table.column("estimated_nano", Type::Integer);
        table.index("usage_day_day", &["day", "model"]);
    });
    for table in ["usage_record", "usage_counter"] {
        schema.open_to(table, Purpose::Housekeeping, "SELECT, DELETE");
    }
}
