//! Exports many rows as CSV or JSON in constant memory (decision 0012). Pages are read by id through
//! short Readers, so a client that stalls holds no snapshot; rows written after the start are left
//! out. One page is read ahead while the one before is sent. A fault half-way resets the
//! connection, so a cut file shows. Not for reports.

mod cells;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use kernel::{Answer, Ctx, Error, Id, Result};
use sea_orm::sea_query::Order;
use sea_orm::{ColumnTrait as _, EntityTrait};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Event, Reader, Scoped, TenantRow};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::app::App;
use crate::crud::row_id;
use cells::Cells;

pub use cells::without_guard;

/// The rows of the first page: few, so that the first byte comes soon.
const FIRST: u64 = 100;
const MOST: u64 = 2_000;
/// How many bytes a page is to have.
const PAGE: u64 = 256 << 10;

/// The formats of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// A JSON array.
    #[default]
    Json,
    /// RFC 4180, with a header line.
    Csv,
}

/// What rows an export reads, and how it shows them.
pub trait ExportSource: Send + Sync + 'static {
    /// The table.
    type Entity: TenantRow;
    /// A row as it is shown; the columns of the CSV name its fields.
    type View: Serialize + Send;

    /// Starts the query of a page; the page's bounds are added to it.
    fn select<'r>(&self, reader: &'r Reader<'_>) -> Scoped<'r, Self::Entity>;

    /// Turns the rows of a page into what is shown.
    fn views(
        &mut self,
        reader: &Reader<'_>,
        rows: Vec<<Self::Entity as EntityTrait>::Model>,
    ) -> impl Future<Output = Result<Vec<Self::View>>> + Send;
}

/// An export as it was asked for.
#[derive(Debug)]
pub struct Export {
    /// What is exported, such as `inventory.items`: the subject of `audit.export`.
    pub about: String,
    /// The name of the file, without its ending.
    pub file: &'static str,
    /// The format.
    pub format: ExportFormat,
    /// The columns of the CSV, in order.
    pub columns: Vec<&'static str>,
    /// Whether what is deleted is in it, too.
    pub deleted: bool,
}

impl Export {
    /// Records `audit.export`, and answers with the rows of the source.
    pub async fn answer<S: ExportSource>(self, app: App, mut ctx: Ctx, source: S) -> web::Result<Response> {
        let mut writer = app.store.write(&mut ctx).await?;
        let mut said = json!({ "format": self.format });
        if self.deleted {
            said["includeDeleted"] = json!(true);
        }
        writer.record(Event::about("audit.export", self.about, said)).await?;
        writer.commit(Answer::no_content()).await?;
        let (media_type, extension) = match self.format {
            ExportFormat::Json => ("application/json", "json"),
            ExportFormat::Csv => ("text/csv; charset=utf-8", "csv"),
        };
        let text = Text { format: self.format, cells: Cells::new(&self.columns), columns: self.columns, first: true };
        let pages = Pages { app, ctx, source, text, after: None, until: Id::new(), rows: FIRST };
        // Room for one: while the client takes a page, the next one is read, and then nothing more.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(pages.send(sender));
        let chunks = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        let mut response = Response::new(Body::from_stream(chunks));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let name = format!("attachment; filename=\"{}.{extension}\"", self.file);
        headers.insert(CONTENT_DISPOSITION, HeaderValue::try_from(name).expect("names are ASCII"));
        Ok(response)
    }
}

type Kind<S> = <<S as ExportSource>::Entity as TenantRow>::Kind;

/// Where an export stands.
struct Pages<S: ExportSource> {
    app: App,
    ctx: Ctx,
    source: S,
    text: Text,
    after: Option<Id<Kind<S>>>,
    until: Id<Kind<S>>,
    /// How many rows the next page has.
    rows: u64,
}

impl<S: ExportSource> Pages<S> {
    /// Sends page after page until the last one, a fault, or until nobody listens any more.
    async fn send(mut self, sender: mpsc::Sender<Result<Bytes>>) {
        loop {
            let read = tokio::select! {
                read = self.next() => read,
                () = sender.closed() => return,
            };
            let (page, last) = match read {
                Ok((page, last)) => (Ok(page), last),
                Err(error) => (Err(error), true),
            };
            if sender.send(page).await.is_err() || last {
                return;
            }
        }
    }

    /// Returns a page, and whether it is the last one.
    async fn next(&mut self) -> Result<(Bytes, bool)> {
        let id = S::Entity::ID;
        let reader = self.app.store.read(&self.ctx).await?;
        let mut query = self.source.select(&reader).filter(id.lte(self.until));
        if let Some(after) = self.after {
            query = query.filter(id.gt(after));
        }
        let rows = query.order_by(id, Order::Asc).limit(self.rows).all().await?;
        let (count, after) = (rows.len() as u64, rows.last().map(row_id::<S::Entity>));
        let views = self.source.views(&reader, rows).await?;
        reader.close().await?;
        let last = count < self.rows;
        let page = self.text.page(&views, last)?;
        self.after = after;
        let bytes_per_row = (page.len() as u64 / count.max(1)).max(1);
        self.rows = (PAGE / bytes_per_row).clamp(FIRST, MOST);
        Ok((page.into(), last))
    }
}

/// Writes the pages of one file.
struct Text {
    format: ExportFormat,
    columns: Vec<&'static str>,
    cells: Cells,
    first: bool,
}

impl Text {
    fn page<V: Serialize>(&mut self, views: &[V], last: bool) -> Result<Vec<u8>> {
        let first = std::mem::replace(&mut self.first, false);
        match self.format {
            ExportFormat::Json => json_page(views, first, last),
            ExportFormat::Csv => self.csv_page(views, first),
        }
        .map_err(|error| Error::internal("an export could not be written").source_error(error))
    }

    fn csv_page<V: Serialize>(&mut self, views: &[V], first: bool) -> Result<Vec<u8>, serde_json::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        if first {
            writer.write_record(&self.columns).map_err(serde::ser::Error::custom)?;
        }
        for view in views {
            writer.write_record(self.cells.of(view)?).map_err(serde::ser::Error::custom)?;
        }
        writer.into_inner().map_err(|error| serde::ser::Error::custom(error.error()))
    }
}

fn json_page<V: Serialize>(views: &[V], first: bool, last: bool) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    if first {
        text.push(b'[');
    }
    for (place, view) in views.iter().enumerate() {
        if place > 0 || !first {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, view)?;
    }
    if last {
        text.push(b']');
    }
    Ok(text)
}
