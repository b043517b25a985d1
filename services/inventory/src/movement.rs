//! The ledger: one line per change of stock, added and never changed. Not for balances; an item's
//! quantity is the sum of its lines.

use axum::extract::State;
use kernel::{Answer, Cursor, Id, IdKind, Money, Quantity, Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Order, SimpleExpr};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Shape, next_page};
use store::{Reader, not_found};
use utoipa::ToSchema;
use web::{Caller, Path, Query};

use crate::batch::BatchId;
use crate::item::{self, ItemId};

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_movement")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MovementId,
    pub item_id: ItemId,
    pub delta: Quantity,
    pub reason: String,
    pub note: Option<String>,
    /// When it happened, where that is not when it was written.
    pub occurred_at: Option<Timestamp>,
    pub batch_id: Option<BatchId>,
    pub amount: Option<Money>,
    pub reference: Option<String>,
    pub reverses: Option<MovementId>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Movement);

/// Why stock changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// What was there when counting began.
    Opening,
    /// Goods came in.
    Received,
    /// Goods went out to a customer.
    Sold,
    /// Goods were used up.
    Consumed,
    /// Goods came back.
    Returned,
    /// Goods were broken or spoilt.
    Damaged,
    /// A count found another number.
    Counted,
}

impl Reason {
    /// Returns the reason as it is stored.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Returns the reason with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    /// Says whether somebody chooses to take the units, and so must leave what others reserved.
    pub(crate) fn leaves_reservations(self) -> bool {
        !matches!(self, Self::Damaged | Self::Counted)
    }
}

/// A change of an item's stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// Names the movement.
    pub id: MovementId,
    /// The item that moved.
    pub item_id: ItemId,
    /// By how many units; negative is out.
    pub delta: Quantity,
    /// Why.
    pub reason: String,
    /// What somebody noted about it.
    pub note: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The batch that moved, where it was one.
    pub batch_id: Option<BatchId>,
    /// What all of it was worth, in minor units of the tenant's currency.
    pub amount: Option<Money>,
    /// What it belongs to elsewhere, such as an order.
    pub reference: Option<String>,
    /// The movement that this one takes back.
    pub reverses: Option<MovementId>,
    /// When it was written.
    pub created_at: Timestamp,
    /// Who wrote it.
    pub created_by: String,
}

/// Names a movement.
pub type MovementId = Id<Movement>;

impl IdKind for Movement {
    const PREFIX: &'static str = "mov";
}

impl From<Model> for Movement {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            item_id: row.item_id,
            delta: row.delta,
            reason: row.reason,
            note: row.note,
            occurred_at: row.occurred_at.unwrap_or(row.created_at),
            batch_id: row.batch_id,
            amount: row.amount,
            reference: row.reference,
            reverses: row.reverses,
            created_at: row.created_at,
            created_by: row.created_by,
        }
    }
}

/// A page of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MovementPage {
    /// The movements, newest first.
    items: Vec<Movement>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

/// Which page is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    limit: Option<u64>,
    cursor: Option<String>,
}

/// Returns `GET /api/inventory/{id}/logs`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/inventory/{id}/logs", "inventory_list_movements", list)
        .path::<ItemId>("id")
        .permission("inventory.movements.read")
        .shape(Shape::Success)
        .paged()
        .describe("List an item's movements", "Gives the item's ledger, newest first; of a deleted item too.")
        .gives::<MovementPage>(200, "A page")
        .problems(&[400, 404])
}

const SORT: &str = "-id";

async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(item): Path<ItemId>,
    Query(asked): Query<Asked>,
) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    reader.select_with_deleted::<item::Entity>().id(item).one().await?.ok_or_else(not_found)?;
    let page = page(&reader, Column::ItemId.eq(item), asked).await?;
    reader.close().await?;
    Ok(Answer::ok(&page)?.into())
}

/// Returns the page that was asked for of the lines that meet a condition.
pub(crate) async fn page(reader: &Reader<'_>, of: SimpleExpr, asked: Asked) -> Result<MovementPage> {
    let limit = crate::batch::list::limit(asked.limit)?;
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let mut query = reader.select_with_deleted::<Entity>().filter(of);
    if let Some(cursor) = cursor {
        query = query.filter(Column::Id.lt(cursor.id));
    }
    let mut rows = query.order_by(Column::Id, Order::Desc).limit(limit + 1).all().await?;
    let next = next_page(&mut rows, limit, SORT, |row| row.id.uuid());
    Ok(MovementPage { items: rows.into_iter().map(Movement::from).collect(), next })
}
