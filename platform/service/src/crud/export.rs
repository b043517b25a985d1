//! Exports a whole collection as CSV or JSON in constant memory (decision 0012). Pages are read by
//! id through short Readers, so a client that stalls holds no snapshot; rows created after the
//! start are left out. A fault half-way resets the connection, so a cut file shows. Not for
//! reports.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use kernel::{Answer, Ctx, Error, Id, Result};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::Order;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Event, TenantRow as _};
use utoipa::ToSchema;
use web::{Caller, Query};

use super::row_id;
use crate::app::App;
use crate::operation::Operation;
use crate::resource::{Kind, Resource};

const PAGE: u64 = 500;

/// The formats of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// A JSON array.
    #[default]
    Json,
    /// RFC 4180, with a header line.
    Csv,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    format: Format,
}

pub(super) fn operation<R: Resource>(path: &'static str, id: String, many: &str) -> Operation {
    Operation::get(path, id, export::<R>)
        .permission(R::SPEC.permissions.export)
        .query::<Format>("format", "The format; JSON unless said.")
        .describe(
            format!("Export all {many}"),
            "Streams everything that is not deleted, oldest first, and writes `audit.export`. In CSV, text that a \
             spreadsheet would run as a formula starts with an apostrophe.",
        )
        .gives::<super::All<R>>(200, "The export")
        .also(200, "text/csv")
        .problems(&[400])
}

/// Where an export stands.
struct Progress<R: Resource> {
    app: App,
    ctx: Ctx,
    format: Format,
    after: Option<Id<Kind<R>>>,
    until: Id<Kind<R>>,
    first: bool,
    done: bool,
}

pub(super) async fn export<R: Resource>(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Query(asked): Query<Asked>,
) -> web::Result<Response> {
    let mut writer = app.store.write(&mut ctx).await?;
    let about = format!("{}.{}", R::SPEC.service, R::SPEC.plural);
    writer.record(Event::about("audit.export", about, json!({ "format": asked.format }))).await?;
    writer.commit(Answer::no_content()).await?;
    let progress =
        Progress::<R> { app, ctx, format: asked.format, after: None, until: Id::new(), first: true, done: false };
    let chunks = stream::unfold(progress, |mut progress| async {
        if progress.done {
            return None;
        }
        let chunk = progress.next_chunk().await;
        if chunk.is_err() {
            progress.done = true;
        }
        Some((chunk, progress))
    });
    let (media_type, extension) = match asked.format {
        Format::Json => ("application/json", "json"),
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    let name = format!("attachment; filename=\"{}.{extension}\"", R::SPEC.plural);
    headers.insert(CONTENT_DISPOSITION, HeaderValue::try_from(name).expect("names are ASCII"));
    Ok(response)
}

impl<R: Resource> Progress<R> {
    async fn next_chunk(&mut self) -> Result<Bytes> {
        let reader = self.app.store.read(&self.ctx).await?;
        let id = R::Entity::ID;
        let mut query = reader.select::<R::Entity>().filter(id.lte(self.until));
        if let Some(after) = self.after {
            query = query.filter(id.gt(after));
        }
        let rows = query.order_by(id, Order::Asc).limit(PAGE).all().await?;
        reader.close().await?;
        self.after = rows.last().map(row_id::<R::Entity>);
        self.done = (rows.len() as u64) < PAGE;
        let views: Vec<R> = rows.iter().map(R::view).collect();
        let chunk = match self.format {
            Format::Json => self.json(&views),
            Format::Csv => self.csv(&views),
        };
        self.first = false;
        chunk
    }

    fn json(&self, views: &[R]) -> Result<Bytes> {
        let mut text = Vec::new();
        if self.first {
            text.push(b'[');
        }
        for (place, view) in views.iter().enumerate() {
            if place > 0 || !self.first {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, view).map_err(unwritable)?;
        }
        if self.done {
            text.push(b']');
        }
        Ok(text.into())
    }

    fn csv(&self, views: &[R]) -> Result<Bytes> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        if self.first {
            writer.write_record(R::SPEC.export).map_err(unwritable)?;
        }
        for view in views {
            let view = serde_json::to_value(view).map_err(unwritable)?;
            let cells = R::SPEC.export.iter().map(|name| cell(view.get(name).unwrap_or(&Value::Null)));
            writer.write_record(cells).map_err(unwritable)?;
        }
        Ok(writer.into_inner().map_err(|error| unwritable(error.into_error()))?.into())
    }
}

fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("an export could not be written").source_error(error)
}

/// Returns a CSV cell; text that a spreadsheet would take for a formula is made harmless.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_made_harmless_and_numbers_are_left_alone() {
        let cells = [json!("=1+1"), json!("@SUM(A1)"), json!("-5"), json!(-5), json!("plain"), json!(null)]
            .map(|value| cell(&value));
        assert_eq!(cells, ["'=1+1", "'@SUM(A1)", "'-5", "-5", "plain", ""]);
    }
}
