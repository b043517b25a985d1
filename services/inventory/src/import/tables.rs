//! The tables of imports. Not for queries.

use store::{Purpose, Schema, Type};

/// Makes the tables: an import, the pieces of its file, and what was wrong with its rows.
pub(crate) fn tables(schema: &mut Schema) {
    schema.tenant_bookkeeping("inventory_import", |table| {
        table.column("options", Type::Text);
        table.column("format", Type::Text);
        table.nullable("header", Type::Text);
        table.column("task_id", Type::Uuid);
        table.column("bytes", Type::Integer);
        // How far it is: a position in the file, and the line there.
        table.column("position", Type::Integer);
        table.column("line", Type::Integer);
        table.column("read", Type::Integer);
        table.column("applied", Type::Integer);
        table.column("unchanged", Type::Integer);
        table.column("failed", Type::Integer);
        table.column("complete", Type::Boolean);
        table.nullable("finished_at", Type::Integer);
    });
    // Its import comes after it: a file that is not taken to its end has none.
    schema.tenant_bookkeeping("inventory_import_piece", |table| {
        table.column("import_id", Type::Uuid);
        table.column("number", Type::Integer);
        table.column("content", Type::Bytes);
        table.unique("inventory_import_piece_number", &["import_id", "number"]);
        table.index_across("inventory_import_piece_old", &["created_at"], "number >= 0");
    });
    schema.tenant_bookkeeping("inventory_import_error", |table| {
        table.column("import_id", Type::Uuid);
        table.column("number", Type::Integer);
        table.column("line", Type::Integer);
        table.nullable("field", Type::Text);
        table.column("code", Type::Text);
        table.column("message", Type::Text);
        table.unique("inventory_import_error_number", &["import_id", "number"]);
        table.index_across("inventory_import_error_old", &["created_at"], "number >= 0");
    });
    for table in ["inventory_import", "inventory_import_piece", "inventory_import_error"] {
        schema.open_to(table, Purpose::Housekeeping, "SELECT, DELETE");
    }
}
