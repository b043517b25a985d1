//! Shows reservations: those of an item, and one. Not for how much they hold together: the item has that.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use kernel::{Answer, Cursor};
use sea_orm::sea_query::Order;
use sea_orm::{ColumnTrait as _, Condition};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Shape, next_page};
use store::not_found;
use utoipa::ToSchema;
use web::{Caller, IfNoneMatch, Path, Query};

use super::{CONSUMED, Column, EXPIRED, Entity, OPEN, RELEASED, Reservation, ReservationId};
use crate::batch::list::limit;
use crate::item::{self, ItemId};

/// A page of reservations.
#[derive(Debug, Serialize, ToSchema)]
struct ReservationPage {
    /// The reservations, oldest first.
    items: Vec<Reservation>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

/// Which reservations are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReservationFilter {
    #[default]
    Open,
    Consumed,
    Released,
    Expired,
    All,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<u64>,
    cursor: Option<String>,
    #[serde(default)]
    state: ReservationFilter,
}

/// Returns `GET /api/inventory/{id}/reservations` and `GET /api/inventory/reservations/{id}`.
pub(super) fn operations() -> [Operation; 2] {
    let list = Operation::get("/api/inventory/{id}/reservations", "inventory_list_reservations", list)
        .path::<ItemId>("id")
        .permission("inventory.reservations.read")
        .shape(Shape::Success)
        .paged()
        .query::<ReservationFilter>("state", "Which ones; `open` unless said, `all` for all.")
        .describe("List an item's reservations", "Oldest first. One whose time is up is `expired` from that moment on.")
        .gives::<ReservationPage>(200, "A page")
        .problems(&[400, 404]);
    let get = Operation::get("/api/inventory/reservations/{id}", "inventory_get_reservation", get)
        .path::<ReservationId>("id")
        .permission("inventory.reservations.read")
        .shape(Shape::Success)
        .describe("Get a reservation", "Gives it as it is now, with its ETag.")
        .gives::<Reservation>(200, "Found")
        .gives_other(304, "Unchanged", &[])
        .problems(&[400, 404]);
    [list, get]
}

const SORT: &str = "id";

async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(item): Path<ItemId>,
    Query(asked): Query<Asked>,
) -> web::Result {
    let limit = limit(asked.limit)?;
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let now = app.now();
    let open = || Condition::all().add(Column::State.eq(OPEN));
    let wanted = match asked.state {
        ReservationFilter::Open => open().add(Column::ExpiresAt.gt(now)),
        ReservationFilter::Consumed => Condition::all().add(Column::State.eq(CONSUMED)),
        ReservationFilter::Released => Condition::all().add(Column::State.eq(RELEASED)),
        ReservationFilter::Expired => {
            Condition::any().add(Column::State.eq(EXPIRED)).add(open().add(Column::ExpiresAt.lte(now)))
        }
        ReservationFilter::All => Condition::all(),
    };
    let reader = app.store.read(&ctx).await?;
    reader.select_with_deleted::<item::Entity>().id(item).one().await?.ok_or_else(not_found)?;
    let mut query = reader.select::<Entity>().filter(Column::ItemId.eq(item)).filter(wanted);
    if let Some(cursor) = cursor {
        query = query.filter(Column::Id.gt(cursor.id));
    }
    let mut rows = query.order_by(Column::Id, Order::Asc).limit(limit + 1).all().await?;
    reader.close().await?;
    let next = next_page(&mut rows, limit, SORT, |row| row.id.uuid());
    let page = ReservationPage { items: rows.iter().map(|row| Reservation::view(row, now)).collect(), next };
    Ok(Answer::ok(&page)?.into())
}

async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<ReservationId>,
    known: IfNoneMatch,
) -> web::Result<Response> {
    let now = app.now();
    let reader = app.store.read(&ctx).await?;
    let row = reader.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
    reader.close().await?;
    let shown = Reservation::view(&row, now);
    // Time changes it too, without a new version.
    if known.has(row.version) && shown.state == row.state {
        return Ok(web::not_modified(row.version));
    }
    Ok(web::Reply(Answer::ok(&shown)?.version(row.version)).into_response())
}
