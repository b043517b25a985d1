//! The tables of the webhooks service, step by step; a released step never changes.

use store::{Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[Step { name: "0001_endpoints", apply: endpoints }];

fn endpoints(schema: &mut Schema) {
    schema.tenant_table("webhooks_endpoint", |table| {
        table.column("url", Type::Text);
        table.nullable("description", Type::Text);
        table.column("events", Type::Text);
        table.column("enabled", Type::Boolean);
        table.nullable("rate", Type::Integer);
        table.nullable("disabled_at", Type::Integer);
        table.nullable("disabled_reason", Type::Text);
        table.column("secret_sealed", Type::Bytes);
        table.nullable("old_secret_sealed", Type::Bytes);
        table.nullable("old_secret_until", Type::Integer);
    });
    schema.tenant_bookkeeping("webhooks_standing", |table| {
        table.column("failures", Type::Integer);
        table.nullable("failing_since", Type::Integer);
        table.nullable("wait_until", Type::Integer);
        table.references("id", "webhooks_endpoint");
    });
    schema.tenant_bookkeeping("webhooks_message", |table| {
        table.column("kind", Type::Text);
        table.column("body", Type::Text);
    });
    schema.tenant_bookkeeping("webhooks_delivery", |table| {
        table.column("endpoint_id", Type::Uuid);
        table.column("message_id", Type::Uuid);
        table.column("kind", Type::Text);
        table.column("state", Type::Text);
        table.column("attempts", Type::Integer);
        table.column("tries", Type::Integer);
        table.nullable("next_at", Type::Integer);
        table.nullable("status", Type::Integer);
        table.nullable("error", Type::Text);
        table.nullable("ended_at", Type::Integer);
        table.check("webhooks_delivery_state", "state IN ('pending', 'delivered', 'failed')");
        table.references("endpoint_id", "webhooks_endpoint");
        table.references("message_id", "webhooks_message");
        table.unique("webhooks_delivery_once", &["endpoint_id", "message_id"]);
        table.index("webhooks_delivery_endpoint", &["endpoint_id", "id"]);
        table.index("webhooks_delivery_message", &["message_id"]);
        table.index_across("webhooks_delivery_ended", &["ended_at"], "ended_at IS NOT NULL");
        table.index_across("webhooks_delivery_pending", &["next_at"], "state = 'pending'");
    });
    schema.tenant_bookkeeping("webhooks_attempt", |table| {
        table.column("delivery_id", Type::Uuid);
        table.column("number", Type::Integer);
        table.nullable("status", Type::Integer);
        table.column("duration_ms", Type::Integer);
        table.nullable("error", Type::Text);
        table.nullable("response", Type::Text);
        table.references("delivery_id", "webhooks_delivery");
        table.unique("webhooks_attempt_number", &["delivery_id", "number"]);
    });
    for table in ["webhooks_message", "webhooks_delivery", "webhooks_attempt"] {
        schema.open_to(table, Purpose::Housekeeping, "SELECT, DELETE");
    }
}
