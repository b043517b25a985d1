//! Listing one's own notifications. Not for reading them off: see `read`.

use axum::extract::State;
use kernel::{Answer, Cursor, Error, Timestamp};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::Order;
use serde::{Deserialize, Serialize};
use service::{App, Operation};
use utoipa::ToSchema;
use web::{Caller, Query};

use crate::kind::NotificationType;
use crate::routes::person;
use crate::tables::notification::{Column, Entity, Model, NotificationId};
use crate::tables::recipient;

/// What somebody was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notification {
    /// Names the notification.
    pub id: NotificationId,
    /// What it tells of.
    #[serde(rename = "type")]
    pub kind: Option<NotificationType>,
    /// The id of what it is about.
    pub object: String,
    /// In a few words; the latest where it tells of several things.
    pub title: String,
    /// In full.
    pub body: String,
    /// How many things it tells of: what happens to one object within minutes comes together.
    pub count: i64,
    /// Whether it waits for nothing.
    pub severe: bool,
    /// Whether it was read.
    pub read: bool,
    /// When it was read.
    pub read_at: Option<Timestamp>,
    /// Its place among the person's notifications; it gets a new one when something is added to it.
    pub number: i64,
    /// When it first came.
    pub created_at: Timestamp,
    /// When something was last added to it.
    pub updated_at: Timestamp,
}

/// Shows a notification to the person whose it is.
pub(crate) fn view(row: Model, person: &recipient::Model) -> Notification {
    let with_all = row.number <= person.read_up_to;
    Notification {
        id: row.id,
        kind: NotificationType::named(&row.kind),
        object: row.object,
        title: row.title,
        body: row.body,
        count: row.count,
        severe: row.severe,
        read: row.read_at.is_some() || with_all,
        read_at: row.read_at.or(person.read_up_to_at.filter(|_| with_all)),
        number: row.number,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// A page of notifications.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NotificationPage {
    /// The notifications, newest first.
    items: Vec<Notification>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
    /// How many are unread in all.
    unread_count: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    unread: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<NotificationType>,
    limit: Option<u64>,
    cursor: Option<String>,
}

pub(crate) fn operation() -> Operation {
    Operation::get("/api/notifications", "notifications_list_notifications", list)
        .query::<bool>("unread", "`true`: only what is unread.")
        .query::<NotificationType>("type", "Only this type.")
        .paged()
        .describe(
            "List notifications",
            "Gives the caller's own notifications in the organisation, newest first, and how many are unread. \
             Nobody sees another's.",
        )
        .gives::<NotificationPage>(200, "A page")
        .problems(&[400])
}

const SORT: &str = "-number";

async fn list(State(app): State<App>, Caller(ctx): Caller, Query(asked): Query<Asked>) -> web::Result {
    let limit = asked.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(Error::invalid("request.invalid_query", "the query is not valid")
            .field("limit", "must be a number from 1 to 200")
            .into());
    }
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let user = person(&ctx)?;
    let reader = app.store.read(&ctx).await?;
    let Some(person) = reader.select_with_deleted::<recipient::Entity>().id(user).one().await? else {
        reader.close().await?;
        return Ok(Answer::ok(&NotificationPage { items: Vec::new(), next: None, unread_count: 0 })?.into());
    };
    let mut query =
        reader.select_with_deleted::<Entity>().filter(Column::UserId.eq(user)).filter(Column::InApp.eq(true));
    if asked.unread == Some(true) {
        query = query.filter(Column::ReadAt.is_null()).filter(Column::Number.gt(person.read_up_to));
    }
    if let Some(kind) = asked.kind {
        query = query.filter(Column::Kind.eq(kind.name()));
    }
    if let Some(number) = cursor.and_then(|cursor| cursor.key.as_i64()) {
        query = query.filter(Column::Number.lt(number));
    }
    let mut rows = query.order_by(Column::Number, Order::Desc).limit(limit + 1).all().await?;
    reader.close().await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more);
    let next = last.map(|row| Cursor::after(SORT, row.number.into(), row.id.uuid()).encode());
    let items = rows.into_iter().map(|row| view(row, &person)).collect();
    Ok(Answer::ok(&NotificationPage { items, next, unread_count: person.unread })?.into())
}
