//! Imports: takes a file as an export gives it, stores it in pieces, and works on it as a task, row by
//! row, each once. A row that is wrong is noted with its line and column and left out. Not for
//! exports and not for what a movement does: see `stock`.

mod clean;
mod errors;
mod fields;
mod items;
mod movements;
mod record;
mod source;
mod split;
mod tables;
mod upload;
mod view;
mod work;

use serde::{Deserialize, Serialize};
use service::Operation;
use tasks::{Job, Schedule};
use utoipa::ToSchema;

pub(crate) use tables::tables;

/// The name of the job.
const JOB: &str = "inventory.import";
/// The largest file.
const LARGEST: usize = 64 << 20;
/// The most rows of a file.
const MOST_ROWS: u64 = 1_000_000;

/// What the rows of a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ImportKind)]
enum Kind {
    /// Items, by their SKU.
    #[default]
    Items,
    /// Movements of items that are there.
    Movements,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ImportFileFormat)]
enum FileFormat {
    /// RFC 4180 with a header line.
    Csv,
    /// A JSON array of objects.
    Json,
}

/// What becomes of the column `quantity` of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ImportStock)]
enum Stock {
    /// It is not looked at: movements are imported after the items.
    #[default]
    Keep,
    /// A new item starts with it, and what is there is counted to be it.
    Opening,
}

/// What becomes of a row whose SKU is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ImportOnExisting)]
enum OnExisting {
    /// The item is changed.
    #[default]
    Update,
    /// The row is left out.
    Skip,
    /// The row is an error.
    Fail,
}

/// How a file is to be imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Options {
    kind: Kind,
    dry_run: bool,
    stock: Stock,
    on_existing: OnExisting,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    column: Option<String>,
    code: &'static str,
    message: String,
}

impl Fault {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { column: None, code, message: message.into() }
    }

    fn at(column: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { column: Some(kernel::printable(column)), ..Self::new(code, message) }
    }
}

/// Returns the operations of imports.
pub(crate) fn operations() -> [Operation; 3] {
    [upload::operation(), view::operation(), errors::operation()]
}

/// Returns the job that works on them.
pub(crate) fn job() -> Job {
    Job::new(JOB, work::Import).per_tenant(1)
}

/// Returns the schedule that removes what is left of old ones.
pub(crate) fn schedule() -> Schedule {
    Schedule::new("inventory.forget_imports", "23 3 * * *", clean::Forget)
}
