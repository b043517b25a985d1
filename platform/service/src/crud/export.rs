//! Exports a whole resource: see `export` for how. Not for rows that have no standard verbs.

use axum::extract::State;
use axum::response::Response;
use kernel::Result;
use sea_orm::EntityTrait;
use serde::Deserialize;
use store::{Reader, Scoped};
use web::{Caller, Query};

use crate::app::App;
use crate::export::{Export, ExportFormat, ExportSource};
use crate::operation::Operation;
use crate::resource::Resource;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct Asked {
    format: ExportFormat,
    include_deleted: bool,
}

pub(super) fn operation<R: Resource>(path: &'static str, id: String, many: &str) -> Operation {
    Operation::get(path, id, export::<R>)
        .permission(R::SPEC.permissions.export)
        .query::<ExportFormat>("format", "The format; JSON unless said.")
        .query::<bool>("includeDeleted", "Whether to give what is deleted too.")
        .describe(
            format!("Export all {many}"),
            format!(
                "Streams everything that is not deleted, in the order of the ids, and writes `audit.export`. \
                 `includeDeleted=true` also gives what is deleted, with a column `deletedAt`, and needs `{}`. In CSV, \
                 text that a spreadsheet would run as a formula starts with an apostrophe.",
                R::SPEC.permissions.restore
            ),
        )
        .gives::<super::All<R>>(200, "The export")
        .also(200, "text/csv")
        .problems(&[400])
}

async fn export<R: Resource>(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(asked): Query<Asked>,
) -> web::Result<Response> {
    let (spec, deleted) = (R::SPEC, asked.include_deleted);
    if deleted {
        ctx.require(spec.permissions.restore)?;
    }
    let mut columns = spec.export.to_vec();
    if deleted && !columns.contains(&"deletedAt") {
        columns.push("deletedAt");
    }
    let about = format!("{}.{}", spec.service, spec.plural);
    let export = Export { about, file: spec.plural, format: asked.format, columns, deleted };
    export.answer(app, ctx, All::<R> { deleted, resource: std::marker::PhantomData }).await
}

struct All<R> {
    deleted: bool,
    resource: std::marker::PhantomData<R>,
}

impl<R: Resource> ExportSource for All<R> {
    type Entity = R::Entity;
    type View = R;

    fn select<'r>(&self, reader: &'r Reader<'_>) -> Scoped<'r, R::Entity> {
        if self.deleted { reader.select_with_deleted() } else { reader.select() }
    }

    async fn views(&mut self, _: &Reader<'_>, rows: Vec<<R::Entity as EntityTrait>::Model>) -> Result<Vec<R>> {
        Ok(rows.iter().map(R::view).collect())
    }
}
