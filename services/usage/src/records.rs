//! The list of calls, newest first. Not for sums: see `summary`.

use axum::extract::State as Within;
use kernel::{Answer, Cursor, Error, Timestamp};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::{ExprTrait as _, Order};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{App, Operation};
use utoipa::ToSchema;
use web::{Caller, Query};

use crate::record::{Column, Entity, Record};

/// A page of calls.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageRecordPage)]
struct RecordPage {
    /// The calls, newest first.
    items: Vec<Record>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    model: Option<String>,
    user: Option<String>,
    route: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    limit: Option<u64>,
    cursor: Option<String>,
}

const SORT: &str = "-createdAt";
const USUAL: u64 = 50;
const MOST: u64 = 200;

/// Returns `GET /api/v1/usage/records`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/v1/usage/records", "usage_list_records", list)
        .permission("usage.records.read")
        .query::<String>("model", "Only calls of this model.")
        .query::<String>("user", "Only calls of this person, or of this program's credential.")
        .query::<String>("route", "Only calls on this route.")
        .query::<Timestamp>("from", "Only calls that began at this moment or later.")
        .query::<Timestamp>("to", "Only calls that began before this moment.")
        .paged()
        .describe(
            "List calls of language models",
            "Gives what each call reserved and used, newest first; calls under way too. Kept for 400 days.",
        )
        .gives::<RecordPage>(200, "A page")
        .problems(&[400])
}

async fn list(Within(app): Within<App>, Caller(ctx): Caller, Query(asked): Query<Asked>) -> web::Result {
    let wrong = |field, why: &str| Error::invalid("request.invalid_query", "the query is not valid").field(field, why);
    let limit = asked.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(wrong("limit", "must be a number from 1 to 200").into());
    }
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let reader = app.store.read(&ctx).await?;
    let mut query = reader.select_with_deleted::<Entity>();
    let words = [
        ("model", Column::Model, asked.model),
        ("user", Column::Caller, asked.user),
        ("route", Column::Route, asked.route),
    ];
    for (field, column, word) in words {
        let Some(word) = word else { continue };
        if word.contains('\0') {
            return Err(wrong(field, "must not hold control characters").into());
        }
        query = query.filter(column.eq(word));
    }
    if let Some(from) = asked.from {
        query = query.filter(Column::CreatedAt.gte(from));
    }
    if let Some(to) = asked.to {
        query = query.filter(Column::CreatedAt.lt(to));
    }
    if let Some(cursor) = cursor {
        let invalid =
            || Error::invalid("request.invalid_cursor", "this cursor is not valid here: start again without it");
        let key = cursor.key.as_i64().map(Timestamp).ok_or_else(invalid)?;
        let beyond = Column::CreatedAt.lt(key).or(Column::CreatedAt.eq(key).and(Column::Id.lt(cursor.id)));
        // The plain bound is for the index.
        query = query.filter(Column::CreatedAt.lte(key)).filter(beyond);
    }
    let query = query.order_by(Column::CreatedAt, Order::Desc).order_by(Column::Id, Order::Desc);
    let mut rows = query.limit(limit + 1).all().await?;
    reader.close().await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let last = rows.last().filter(|_| more);
    let next = last.map(|row| Cursor::after(SORT, json!(row.created_at.0), row.id.uuid()).encode());
    let items = rows.into_iter().map(Record::from).collect();
    Ok(Answer::ok(&RecordPage { items, next })?.into())
}
