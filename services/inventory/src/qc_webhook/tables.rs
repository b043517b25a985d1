//! The tables of the webhook: keys, and what was received under them. Not for batches.

use store::{Purpose, Schema, Type};

/// Makes them. A key is looked up before its tenant is known.
pub(crate) fn keys(schema: &mut Schema) {
    schema.tenant_table("inventory_qc_key", |table| {
        table.column("name", Type::Text);
        table.column("secret_sealed", Type::Bytes);
        table.nullable("old_secret_sealed", Type::Bytes);
        table.nullable("old_secret_until", Type::Integer);
        table.index_across("inventory_qc_key_id", &["id"], "deleted_at IS NULL");
    });
    schema.open_to("inventory_qc_key", Purpose::SignIn, "SELECT");
    schema.tenant_bookkeeping("inventory_qc_receipt", |table| {
        table.column("key_id", Type::Uuid);
        table.column("message_id", Type::Text);
        table.column("body_hash", Type::Bytes);
        table.column("answer", Type::Text);
        table.column("kept_until", Type::Integer);
        table.references("key_id", "inventory_qc_key");
        table.unique("inventory_qc_receipt_once", &["key_id", "message_id"]);
        table.index_across("inventory_qc_receipt_kept", &["kept_until"], "kept_until > 0");
    });
    schema.open_to("inventory_qc_receipt", Purpose::Housekeeping, "SELECT, DELETE");
}
