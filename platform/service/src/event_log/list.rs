//! Reading the event log in pages: what changed in the caller's tenant, in order, from any position.
//! Not for live streams, which stand on the same log.

use std::sync::Arc;

use axum::extract::State;
use kernel::{Answer, Cursor, Error, Id, Timestamp};
use serde::{Deserialize, Serialize};
use store::{EventFilter, EventKind, EventRow};
use utoipa::ToSchema;
use web::{Caller, Query};

use super::selection::{Audiences, Catalogue};
use crate::app::App;
use crate::operation::Operation;

/// Names an event.
type EventId = Id<EventKind>;

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Event {
    /// Names the event.
    id: EventId,
    /// Its place in the order of all events; gaps are other tenants' events.
    position: i64,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// The id of what changed.
    subject: String,
    /// The version of what changed, after the change; 0 for what has none.
    subject_version: i64,
    /// Who did it.
    actor: String,
    /// The request that did it.
    request_id: String,
    /// The chain of requests that it belongs to.
    correlation_id: String,
    /// When it happened.
    occurred_at: Timestamp,
    /// Why, where a superadmin had to say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What is known of it.
    data: serde_json::Value,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
struct EventPage {
    /// The events, oldest first.
    items: Vec<Event>,
    /// Send it back as `cursor` to read on; null when there is nothing more for now.
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<i64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    subject: Option<String>,
    limit: Option<u64>,
    cursor: Option<String>,
}

pub(super) fn operation(catalogue: Arc<Catalogue>) -> Operation {
    let handler =
        move |state: State<App>, caller: Caller, query: Query<Asked>| list(catalogue.clone(), state, caller, query);
    Operation::get("/api/events", "events_list_events", handler)
        .permission("events.members.read")
        .query::<i64>("after", "Only events after this position.")
        .query::<String>("type", "Only this type.")
        .query::<String>("subject", "Only events about this id.")
        .paged()
        .describe(
            "List events",
            "Gives what happened in the tenant, oldest first, as far as the caller may learn of it. A reader that has \
             seen a position never later meets a smaller one.",
        )
        .gives::<EventPage>(200, "A page")
        .problems(&[400])
}

const SORT: &str = "position";

async fn list(
    catalogue: Arc<Catalogue>,
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(asked): Query<Asked>,
) -> web::Result {
    let wrong = |field: &str, message: &str| {
        Error::invalid("request.invalid_query", "the query is not valid").field(field, message)
    };
    let limit = asked.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(wrong("limit", "must be a number from 1 to 200").into());
    }
    let mut after = asked.after.unwrap_or(0);
    if let Some(cursor) = asked.cursor {
        let cursor = Cursor::decode(&cursor, SORT)?;
        after = cursor.key.as_i64().unwrap_or(after);
    }
    let visible = catalogue.visible(Audiences::of(&ctx));
    let kinds: Vec<&'static str> = match &asked.kind {
        Some(kind) => visible.filter(|name| name == kind).collect(),
        None => visible.collect(),
    };
    let filter = EventFilter { kinds, subject: asked.subject };
    let reader = app.store.read(&ctx).await?;
    let mut rows = reader.events_after(after, &filter, limit + 1).await?;
    reader.close().await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more).and_then(|row| row.position.map(|position| (position, row.id)));
    let next = last.map(|(position, id)| Cursor::after(SORT, position.into(), id.uuid()).encode());
    let items = rows.into_iter().map(view).collect();
    Ok(Answer::ok(&EventPage { items, next })?.into())
}

fn view(row: EventRow) -> Event {
    Event {
        id: row.id,
        position: row.position.unwrap_or_default(),
        kind: row.kind,
        subject: row.subject,
        subject_version: row.subject_version,
        actor: row.actor,
        request_id: row.request_id,
        correlation_id: row.correlation_id,
        occurred_at: row.occurred_at,
        reason: row.reason,
        data: serde_json::from_str(&row.data).unwrap_or_default(),
    }
}
