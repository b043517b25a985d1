//! The tables of the notifications service, step by step; a released step never changes.

use store::{Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[Step { name: "0001_notifications", apply: notifications }];

fn notifications(schema: &mut Schema) {
    schema.tenant_bookkeeping("notifications_recipient", |table| {
        table.nullable("role", Type::Text);
        table.column("last_number", Type::Integer);
        table.column("read_up_to", Type::Integer);
        table.nullable("read_up_to_at", Type::Integer);
        table.column("unread", Type::Integer);
    });
    schema.tenant_bookkeeping("notifications_notification", |table| {
        table.column("user_id", Type::Uuid);
        table.column("kind", Type::Text);
        table.column("object", Type::Text);
        table.column("severe", Type::Boolean);
        table.column("in_app", Type::Boolean);
        table.column("title", Type::Text);
        table.column("body", Type::Text);
        table.column("count", Type::Integer);
        table.column("number", Type::Integer);
        table.nullable("read_at", Type::Integer);
        table.column("open", Type::Boolean);
        table.column("closes_at", Type::Integer);
        table.column("updated_at", Type::Integer);
        // Two who add to the same object at once cannot open two windows.
        table.unique_where("notifications_notification_open", &["user_id", "kind", "object"], "open");
        table.index("notifications_notification_user", &["user_id", "number"]);
    });
    schema.tenant_bookkeeping("notifications_occurrence", |table| {
        table.column("notification_id", Type::Uuid);
        table.column("user_id", Type::Uuid);
        table.column("dedupe_key", Type::Text);
        table.column("title", Type::Text);
        table.column("body", Type::Text);
        table.column("occurred_at", Type::Integer);
        table.references("notification_id", "notifications_notification");
        table.unique("notifications_occurrence_once", &["user_id", "dedupe_key"]);
        table.index("notifications_occurrence_of", &["notification_id", "id"]);
    });
    schema.tenant_bookkeeping("notifications_delivery", |table| {
        table.column("notification_id", Type::Uuid);
        table.column("user_id", Type::Uuid);
        table.column("channel", Type::Text);
        table.column("state", Type::Text);
        table.nullable("reason", Type::Text);
        table.column("due_at", Type::Integer);
        table.column("attempts", Type::Integer);
        table.nullable("sent_at", Type::Integer);
        table.references("notification_id", "notifications_notification");
        table.unique("notifications_delivery_channel", &["notification_id", "channel"]);
    });
    // What was told long ago is removed in all tenants at once.
    schema.both("CREATE INDEX notifications_notification_age ON notifications_notification (updated_at)");
    schema.open_to("notifications_recipient", Purpose::Housekeeping, "SELECT, UPDATE");
    for table in ["notifications_notification", "notifications_occurrence", "notifications_delivery"] {
        schema.open_to(table, Purpose::Housekeeping, "SELECT, DELETE");
    }
    schema.tenant_bookkeeping("notifications_settings", |table| {
        table.column("document", Type::Text);
    });
    schema.tenant_bookkeeping("notifications_suppression", |table| {
        table.column("address_hash", Type::Bytes);
        table.column("reason", Type::Text);
    });
}
