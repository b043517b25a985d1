//! Takes a file: stores it piece by piece as it comes, and asks for the work in the transaction that
//! completes it. What does not come to its end leaves nothing. Not for the work.

use std::collections::VecDeque;

use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use kernel::{Answer, Ctx, Error, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::ColumnTrait as _;
use serde::Serialize;
use serde_json::json;
use service::{App, Operation, Shape};
use sha2::{Digest as _, Sha256};
use store::{Event, Writer};
use tasks::{NewTask, TaskId};
use utoipa::ToSchema;
use web::{Caller, Query};

use super::record::{self, ImportId};
use super::source::{self, PIECE};
use super::split::{Content, Place, Splitter};
use super::{FileFormat, JOB, Kind, LARGEST, OnExisting, Options, Stock, fields};

/// A file that was taken.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Taken {
    /// The import: `GET /api/inventory/imports/{importId}`.
    import_id: ImportId,
    /// The task that works on it: `GET /api/tasks/{taskId}`.
    task_id: TaskId,
}

/// Returns `POST /api/inventory/import`.
pub(super) fn operation() -> Operation {
    Operation::post("/api/inventory/import", "inventory_import", import)
        .permission("inventory.items.import")
        .shape(Shape::Success)
        .query::<Kind>("kind", "What the rows are; `items` unless said.")
        .query::<bool>("dryRun", "Only say what would be wrong.")
        .query::<Stock>("stock", "What becomes of the quantities of items; `keep` unless said.")
        .query::<OnExisting>("onExisting", "What becomes of rows whose SKU is there; `update` unless said.")
        .takes_stream(&["text/csv", "application/json"], LARGEST)
        .describe(
            "Import items or movements",
            "Takes a file as an export gives it, up to 64 MiB and a million rows: CSV with a header line in any order, \
             or a JSON array. Answers at once; a task applies the rows, each once whatever happens meanwhile, leaves \
             out those that are wrong, and notes them with line and column. `dryRun=true` changes nothing and notes the \
             same. Items are known by `sku`; a column that is missing is left alone, an empty cell empties. \
             `stock=opening` books quantities as `opening` or `counted` movements; `keep` leaves the stock to an import \
             of movements. Writes `inventory.import.taken`, the events of each change, and `inventory.import.finished`.",
        )
        .gives::<Taken>(202, "Taken")
        .problems(&[400, 413, 415])
}

async fn import(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Query(options): Query<Options>,
    request: Request,
) -> web::Result {
    let format = format_of(request.headers())?;
    refuse_long(request.headers())?;
    let key = ctx.take_idempotency();
    let mut upload = Upload::new(format, options);
    let body = request.into_body().into_data_stream();
    let finished = match upload.receive(&app, &mut ctx, body).await {
        Ok(()) => {
            if let Some(mut key) = key {
                // The same key with another file is another request.
                key.fingerprint = upload.digest(key.fingerprint);
                ctx.give_idempotency(key);
            }
            upload.finish(&app, &mut ctx).await
        }
        Err(error) => Err(error),
    };
    if finished.is_err() && upload.stored > 0 {
        discard(&app, &mut ctx, upload.import).await?;
    }
    Ok(finished?.into())
}

fn format_of(headers: &HeaderMap) -> Result<FileFormat> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/csv" => Ok(FileFormat::Csv),
        "application/json" => Ok(FileFormat::Json),
        _ => {
            let message = "send the file as text/csv or application/json";
            Err(Error::invalid("request.unsupported_media_type", message).status_code(415))
        }
    }
}

fn refuse_long(headers: &HeaderMap) -> Result<()> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LARGEST as u64) { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> Error {
    Error::invalid("request.too_large", format!("the file must have at most {LARGEST} bytes")).status_code(413)
}

/// A file on its way.
struct Upload {
    import: ImportId,
    format: FileFormat,
    options: Options,
    header: Option<Vec<String>>,
    /// What came and is not stored yet: less than a piece.
    rest: Vec<u8>,
    /// How many pieces are stored.
    stored: u64,
    bytes: usize,
    hash: Sha256,
}

impl Upload {
    fn new(format: FileFormat, options: Options) -> Self {
        let (import, hash) = (ImportId::new(), Sha256::new());
        Self { import, format, options, header: None, rest: Vec::new(), stored: 0, bytes: 0, hash }
    }

    async fn receive(&mut self, app: &App, ctx: &mut Ctx, mut body: BodyDataStream) -> Result<()> {
        while let Some(chunk) = body.next().await {
            let cut_off =
                |error| Error::invalid("request.cut_off", "the body ended before its end").source_error(error);
            let chunk = chunk.map_err(cut_off)?;
            self.bytes += chunk.len();
            if self.bytes > LARGEST {
                return Err(too_large());
            }
            self.hash.update(&chunk);
            self.rest.extend_from_slice(&chunk);
            while self.rest.len() > PIECE {
                self.store_piece(app, ctx).await?;
            }
        }
        if self.stored == 0 { self.begin(true) } else { Ok(()) }
    }

    async fn store_piece(&mut self, app: &App, ctx: &mut Ctx) -> Result<()> {
        if self.stored == 0 {
            self.begin(false)?;
        }
        let rest = self.rest.split_off(PIECE);
        let piece = std::mem::replace(&mut self.rest, rest);
        let mut writer = app.store.write(ctx).await?;
        self.append(&mut writer, piece).await?;
        writer.commit(Answer::no_content()).await.map(|_| ())
    }

    async fn append(&mut self, writer: &mut Writer<'_>, content: Vec<u8>) -> Result<()> {
        let number = i64::try_from(self.stored).unwrap_or(i64::MAX);
        let row = source::ActiveModel {
            import_id: Set(self.import),
            number: Set(number),
            content: Set(content),
            ..Default::default()
        };
        writer.append::<source::Entity>(row).await?;
        self.stored += 1;
        Ok(())
    }

    /// Looks at how the file begins, so that the wrong file is refused at once.
    fn begin(&mut self, whole: bool) -> Result<()> {
        let (mut splitter, mut rows) = (Splitter::new(self.format, Place::START), VecDeque::new());
        // Only the first rows matter, and a row is never longer than this.
        let beginning = &self.rest[..self.rest.len().min(PIECE)];
        let mut taken = splitter.take(beginning, &mut rows);
        if taken.is_ok() && whole {
            taken = splitter.end(&mut rows);
        }
        match (self.format, rows.pop_front()) {
            (FileFormat::Json, None) => taken.map_err(|broken| invalid_file(broken.message)),
            (FileFormat::Json, Some(_)) => Ok(()),
            (FileFormat::Csv, None) => Err(invalid_file("the file has no header line")),
            (FileFormat::Csv, Some(row)) => match row.content {
                Ok(Content::Cells(cells)) => {
                    self.header = Some(fields::check_header(self.options.kind, &cells)?);
                    Ok(())
                }
                Ok(Content::Object(_)) => Err(invalid_file("the file has no header line")),
                Err(fault) => Err(invalid_file(&format!("the header line cannot be read: {}", fault.message))),
            },
        }
    }

    fn digest(&self, fingerprint: [u8; 32]) -> [u8; 32] {
        let file = self.hash.clone().finalize();
        Sha256::new().chain_update(fingerprint).chain_update(file).finalize().into()
    }

    /// Stores what is left and asks for the work, all in one transaction.
    async fn finish(&mut self, app: &App, ctx: &mut Ctx) -> Result<Answer> {
        let rest = std::mem::take(&mut self.rest);
        let mut writer = app.store.write(ctx).await?;
        if !rest.is_empty() {
            self.append(&mut writer, rest).await?;
        }
        let task = tasks::enqueue(&mut writer, NewTask::new(JOB, json!({ "import": self.import }))).await?;
        let row = record::ActiveModel {
            id: Set(self.import),
            options: Set(json!(self.options).to_string()),
            format: Set(if self.format == FileFormat::Csv { "csv" } else { "json" }.to_owned()),
            header: Set(self.header.as_ref().map(|names| json!(names).to_string())),
            task_id: Set(task.id),
            bytes: Set(i64::try_from(self.bytes).unwrap_or(i64::MAX)),
            position: Set(0),
            line: Set(1),
            read: Set(0),
            applied: Set(0),
            unchanged: Set(0),
            failed: Set(0),
            complete: Set(false),
            ..Default::default()
        };
        writer.append::<record::Entity>(row).await?;
        let said = json!({ "importId": self.import, "options": self.options, "bytes": self.bytes });
        writer.record(Event::about("inventory.import.taken", self.import.to_string(), said)).await?;
        let body = Taken { import_id: self.import, task_id: task.id };
        let location = Some(format!("/api/tasks/{}", task.id));
        writer.commit(Answer { status: 202, location, ..Answer::ok(&body)? }).await
    }
}

fn invalid_file(message: &str) -> Error {
    Error::invalid("inventory.import_invalid_file", format!("this cannot be imported: {message}"))
}

/// Removes the pieces of a file that did not come to its end, or that was imported before.
async fn discard(app: &App, ctx: &mut Ctx, import: ImportId) -> Result<()> {
    let mut writer = app.store.write(ctx).await?;
    writer.remove::<source::Entity>(source::Column::ImportId.eq(import)).await?;
    writer.commit(Answer::no_content()).await.map(|_| ())
}
