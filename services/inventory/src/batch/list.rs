//! The list of batches: filters that batches need, and a sort by expiry in which those that never expire
//! come last. Not for one item's order of use: see `suggest`.

use axum::extract::State;
use kernel::{Answer, Cursor, Error, Result, Text, Timestamp};
use sea_orm::sea_query::Order;
use sea_orm::{ColumnTrait as _, Condition, ModelTrait as _, Value};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Resource as _, Shape};
use store::{Reader, Scoped};
use utoipa::ToSchema;
use web::{Caller, Query};

use super::{Batch, Column, Entity, Model};
use crate::item::ItemId;

/// A page of batches.
#[derive(Debug, Serialize, ToSchema)]
struct BatchPage {
    /// The batches.
    items: Vec<Batch>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

/// How a batch's quality check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum QcState {
    Pending,
    Passed,
    Failed,
}

impl QcState {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => super::qc::PENDING,
            Self::Passed => super::qc::PASSED,
            Self::Failed => super::qc::FAILED,
        }
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
enum BatchSort {
    #[default]
    #[serde(rename = "createdAt")]
    Created,
    #[serde(rename = "-createdAt")]
    CreatedDown,
    #[serde(rename = "receivedAt")]
    Received,
    #[serde(rename = "-receivedAt")]
    ReceivedDown,
    #[serde(rename = "expiresAt")]
    Expires,
    #[serde(rename = "-expiresAt")]
    ExpiresDown,
    #[serde(rename = "code")]
    Code,
    #[serde(rename = "-code")]
    CodeDown,
    #[serde(rename = "quantity")]
    Quantity,
    #[serde(rename = "-quantity")]
    QuantityDown,
}

impl BatchSort {
    /// Returns the column, its name and the direction.
    fn parts(self) -> (Column, &'static str, Order) {
        match self {
            Self::Created => (Column::CreatedAt, "createdAt", Order::Asc),
            Self::CreatedDown => (Column::CreatedAt, "-createdAt", Order::Desc),
            Self::Received => (Column::ReceivedAt, "receivedAt", Order::Asc),
            Self::ReceivedDown => (Column::ReceivedAt, "-receivedAt", Order::Desc),
            Self::Expires => (Column::ExpiresAt, "expiresAt", Order::Asc),
            Self::ExpiresDown => (Column::ExpiresAt, "-expiresAt", Order::Desc),
            Self::Code => (Column::Code, "code", Order::Asc),
            Self::CodeDown => (Column::Code, "-code", Order::Desc),
            Self::Quantity => (Column::Quantity, "quantity", Order::Asc),
            Self::QuantityDown => (Column::Quantity, "-quantity", Order::Desc),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    limit: Option<u64>,
    cursor: Option<String>,
    #[serde(default)]
    sort: BatchSort,
    item_id: Option<ItemId>,
    code: Option<Text<64>>,
    qc_state: Option<QcState>,
    expires_before: Option<Timestamp>,
    #[serde(default)]
    include_deleted: bool,
}

/// Returns `GET /api/inventory/batches`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/inventory/batches", "inventory_list_batches", list)
        .permission(Batch::SPEC.permissions.read)
        .shape(Shape::Success)
        .paged()
        .query::<BatchSort>("sort", "The field to sort by; `-` before it for descending. `createdAt` unless said.")
        .query::<ItemId>("itemId", "Only those of this item.")
        .query::<Text<64>>("code", "Only those with this code.")
        .query::<QcState>("qcState", "Only those whose quality check went so.")
        .query::<Timestamp>("expiresBefore", "Only those that expire before this moment.")
        .query::<bool>("includeDeleted", "Whether to show what is deleted too.")
        .describe(
            "List batches",
            "Takes filters, a sort and a cursor; gives a page and the cursor of the next. Sorted by `expiresAt`, those \
             that never expire come last, in either direction. `includeDeleted=true` also shows what is deleted and \
             needs `inventory.batches.restore`.",
        )
        .gives::<BatchPage>(200, "A page")
        .problems(&[400])
}

const MOST: u64 = 200;

/// Checks how many a page may hold.
pub(crate) fn limit(asked: Option<u64>) -> Result<u64> {
    match asked.unwrap_or(50) {
        limit @ 1..=MOST => Ok(limit),
        _ => Err(Error::invalid("request.invalid_query", "the query is not valid")
            .field("limit", format!("must be a number from 1 to {MOST}"))),
    }
}

async fn list(State(app): State<App>, Caller(ctx): Caller, Query(asked): Query<Asked>) -> web::Result {
    if asked.include_deleted {
        ctx.require(Batch::SPEC.permissions.restore)?;
    }
    let limit = limit(asked.limit)?;
    let (_, sort, _) = asked.sort.parts();
    let cursor = asked.cursor.as_deref().map(|text| Cursor::decode(text, sort)).transpose()?;
    let reader = app.store.read(&ctx).await?;
    let mut rows = page(&reader, &asked, cursor.as_ref(), limit + 1).await?;
    reader.close().await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| cursor_after(asked.sort, row).encode());
    Ok(Answer::ok(&BatchPage { items: rows.iter().map(Batch::view).collect(), next })?.into())
}

/// Reads the rows behind the cursor: those with a value in the sort column, then those without.
async fn page(reader: &Reader<'_>, asked: &Asked, cursor: Option<&Cursor>, limit: u64) -> Result<Vec<Model>> {
    let (column, _, order) = asked.sort.parts();
    let down = order == Order::Desc;
    let beyond = |id| if down { Column::Id.lt(id) } else { Column::Id.gt(id) };
    let may_be_empty = matches!(column, Column::ExpiresAt);
    let among_empty = cursor.filter(|cursor| may_be_empty && cursor.key.is_null());
    let mut rows = Vec::new();
    if among_empty.is_none() {
        let mut query = filtered(reader, asked).filter(column.is_not_null());
        if let Some(cursor) = cursor {
            let key = key(cursor, column)?;
            let after = if down { column.lt(key.clone()) } else { column.gt(key.clone()) };
            let tie = Condition::all().add(column.eq(key)).add(beyond(cursor.id));
            query = query.filter(Condition::any().add(after).add(tie));
        }
        rows = query.order_by(column, order.clone()).order_by(Column::Id, order.clone()).limit(limit).all().await?;
    }
    let room = limit - rows.len() as u64;
    if may_be_empty && room > 0 {
        let mut query = filtered(reader, asked).filter(column.is_null());
        if let Some(cursor) = among_empty {
            query = query.filter(beyond(cursor.id));
        }
        rows.extend(query.order_by(Column::Id, order).limit(room).all().await?);
    }
    Ok(rows)
}

fn filtered<'r>(reader: &'r Reader<'_>, asked: &Asked) -> Scoped<'r, Entity> {
    let mut wanted = Condition::all()
        .add_option(asked.item_id.map(|item| Column::ItemId.eq(item)))
        .add_option(asked.code.as_ref().map(|code| Column::Code.eq(code.as_str())))
        .add_option(asked.qc_state.map(|state| Column::QcState.eq(state.name())))
        .add_option(asked.expires_before.map(|moment| Column::ExpiresAt.lt(moment)));
    if !asked.include_deleted {
        wanted = wanted.add(Column::DeletedAt.is_null());
    }
    reader.select_with_deleted::<Entity>().filter(wanted)
}

fn cursor_after(sort: BatchSort, row: &Model) -> Cursor {
    let (column, name, _) = sort.parts();
    let key = match row.get(column) {
        Value::String(Some(text)) => text.as_str().into(),
        Value::BigInt(Some(number)) => number.into(),
        _ => serde_json::Value::Null,
    };
    Cursor::after(name, key, row.id.uuid())
}

/// Returns the sort column's value in a cursor, which may have been made up.
fn key(cursor: &Cursor, column: Column) -> Result<Value> {
    match &cursor.key {
        serde_json::Value::String(code) if matches!(column, Column::Code) && !code.contains('\0') => {
            Ok(code.as_str().into())
        }
        serde_json::Value::Number(number) if !matches!(column, Column::Code) && number.is_i64() => {
            Ok(number.as_i64().into())
        }
        _ => Err(Error::invalid("request.invalid_cursor", "this cursor is not valid here: start again without it")),
    }
}
