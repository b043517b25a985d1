//! The log of deliveries: what was sent where, how it is doing, and each attempt. Not for sending again.

use axum::extract::State as Within;
use kernel::{Answer, Cursor, Error, Result};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::Order;
use serde::{Deserialize, Serialize};
use service::{App, Operation, next_page};
use store::not_found;
use utoipa::ToSchema;
use web::{Caller, Path, Query};

use crate::attempt::{self, Attempt};
use crate::delivery::{Column, Delivery, DeliveryId, Entity, State};
use crate::endpoint::EndpointId;
use crate::message;

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDeliveryPage)]
struct DeliveryPage {
    /// The deliveries, newest first.
    items: Vec<Delivery>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

/// A delivery with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookDeliveryInFull)]
struct DeliveryInFull {
    /// The delivery.
    #[serde(flatten)]
    delivery: Delivery,
    /// The body that is posted, as text: the signatures are over exactly these bytes.
    body: String,
    /// The attempts, the last one first; at most 100.
    tried: Vec<Attempt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    endpoint_id: Option<EndpointId>,
    state: Option<State>,
    limit: Option<u64>,
    cursor: Option<String>,
}

/// Returns the operations that read the log.
pub(crate) fn operations() -> [Operation; 2] {
    [
        Operation::get("/api/webhooks/deliveries", "webhooks_list_deliveries", list)
            .permission("webhooks.endpoints.read")
            .query::<EndpointId>("endpointId", "Only those to this endpoint.")
            .query::<State>("state", "Only those in this state.")
            .paged()
            .describe(
                "List deliveries",
                "Gives what was sent and what is on its way, newest first. Deliveries that have \
                 ended leave the log after `webhooks.keep_days`.",
            )
            .gives::<DeliveryPage>(200, "A page")
            .problems(&[400]),
        Operation::get("/api/webhooks/deliveries/{id}", "webhooks_get_delivery", get)
            .path::<DeliveryId>("id")
            .permission("webhooks.endpoints.read")
            .describe(
                "Get a delivery",
                "Gives it with its body and its attempts: status, duration, error, and the \
                 beginning of the answer.",
            )
            .gives::<DeliveryInFull>(200, "Found")
            .problems(&[400, 404]),
    ]
}

const SORT: &str = "-id";
const ATTEMPTS: u64 = 100;

async fn list(Within(app): Within<App>, Caller(ctx): Caller, Query(asked): Query<Asked>) -> web::Result {
    let limit = asked.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(Error::invalid("request.invalid_query", "the query is not valid")
            .field("limit", "must be a number from 1 to 200")
            .into());
    }
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let reader = app.store.read(&ctx).await?;
    let mut query = reader.select_with_deleted::<Entity>();
    if let Some(endpoint) = asked.endpoint_id {
        query = query.filter(Column::EndpointId.eq(endpoint));
    }
    if let Some(state) = asked.state {
        query = query.filter(Column::State.eq(state.name()));
    }
    if let Some(cursor) = cursor {
        query = query.filter(Column::Id.lt(cursor.id));
    }
    let mut rows = query.order_by(Column::Id, Order::Desc).limit(limit + 1).all().await?;
    reader.close().await?;
    let next = next_page(&mut rows, limit, SORT, |row| row.id.uuid());
    let items = rows.into_iter().map(Delivery::view).collect::<Result<_>>()?;
    Ok(Answer::ok(&DeliveryPage { items, next })?.into())
}

async fn get(Within(app): Within<App>, Caller(ctx): Caller, Path(id): Path<DeliveryId>) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let row = reader.select_with_deleted::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    let message = reader.select_with_deleted::<message::Entity>().id(row.message_id).one().await?;
    let tried = reader
        .select_with_deleted::<attempt::Entity>()
        .filter(attempt::Column::DeliveryId.eq(id))
        .order_by(attempt::Column::Number, Order::Desc)
        .limit(ATTEMPTS)
        .all()
        .await?;
    reader.close().await?;
    let body = message.ok_or_else(not_found)?.body;
    let tried = tried.into_iter().map(Attempt::from).collect();
    Ok(Answer::ok(&DeliveryInFull { delivery: Delivery::view(row)?, body, tried })?.into())
}
