//! What was wrong with the rows of an import, as it is stored and shown. Not for faults of ours.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use kernel::{Answer, Error, Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Order;
use serde::{Deserialize, Serialize};
use service::{App, ExportFormat, Operation, Shape};
use store::{Writer, not_found};
use utoipa::ToSchema;
use web::{Caller, Path, Query, Reply};

use super::Fault;
use super::record::{self, ImportId, ImportKind};

/// How many faults are kept of an import.
pub(super) const KEPT: u64 = 1_000;

/// Marks the ids of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportError;
impl IdKind for ImportError {
    const PREFIX: &'static str = "ier";
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_import_error")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<ImportError>,
    pub import_id: Id<ImportKind>,
    pub number: i64,
    pub line: i64,
    pub field: Option<String>,
    pub code: String,
    pub message: String,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, ImportError);

/// Notes a fault.
pub(super) async fn append(
    writer: &mut Writer<'_>,
    import: ImportId,
    number: u64,
    line: u64,
    fault: &Fault,
) -> Result<()> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let row = ActiveModel {
        import_id: Set(import),
        number: Set(signed(number)),
        line: Set(signed(line)),
        field: Set(fault.column.clone()),
        code: Set(fault.code.to_owned()),
        // PostgreSQL takes no NUL, and nobody wants control characters.
        message: Set(kernel::printable(&fault.message)),
        ..Default::default()
    };
    writer.append::<Entity>(row).await.map(|_| ())
}

/// What is wrong with a row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportRowError)]
struct RowError {
    /// The line on which the row begins; the first one is 1.
    line: i64,
    /// The column, where it is one.
    column: Option<String>,
    /// What kind of error it is.
    code: String,
    /// What is wrong.
    message: String,
}

/// What is wrong with the rows of an import.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportRowErrors)]
struct RowErrors {
    /// The first 1,000, in the order of the file.
    items: Vec<RowError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    format: ExportFormat,
}

/// Returns `GET /api/inventory/imports/{id}/errors`.
pub(super) fn operation() -> Operation {
    Operation::get("/api/inventory/imports/{id}/errors", "inventory_list_import_errors", list)
        .path::<ImportId>("id")
        .permission("inventory.items.import")
        .shape(Shape::Success)
        .query::<ExportFormat>("format", "The format; JSON unless said.")
        .describe(
            "List what is wrong with an import's rows",
            "Gives the first 1,000 errors with line, column, code and message, while the import runs too.",
        )
        .gives::<RowErrors>(200, "The errors")
        .also(200, "text/csv")
        .problems(&[400, 404])
}

async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<ImportId>,
    Query(asked): Query<Asked>,
) -> web::Result<Response> {
    let reader = app.store.read(&ctx).await?;
    reader.select_with_deleted::<record::Entity>().id(id).one().await?.ok_or_else(not_found)?;
    let rows = reader.select_with_deleted::<Entity>().filter(Column::ImportId.eq(id));
    let rows = rows.order_by(Column::Number, Order::Asc).limit(KEPT).all().await?;
    reader.close().await?;
    let show = |row: Model| RowError { line: row.line, column: row.field, code: row.code, message: row.message };
    let items: Vec<RowError> = rows.into_iter().map(show).collect();
    if asked.format == ExportFormat::Json {
        return Ok(Reply(Answer::ok(&RowErrors { items })?).into_response());
    }
    let csv = csv(&items).map_err(|error| Error::internal("errors could not be written").source_error(error))?;
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8"), (CACHE_CONTROL, "no-store")], csv).into_response())
}

fn csv(items: &[RowError]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["line", "column", "code", "message"])?;
    for item in items {
        // What a file says stands in a column's name only, behind an apostrophe that keeps it from running.
        let column = item.column.as_deref().unwrap_or_default();
        let column = if column.starts_with(|first: char| first.is_ascii_alphabetic()) || column.is_empty() {
            column.to_owned()
        } else {
            format!("'{column}")
        };
        writer.write_record([item.line.to_string().as_str(), &column, &item.code, &item.message])?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}
