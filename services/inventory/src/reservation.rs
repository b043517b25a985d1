//! A reservation: units of an item that are held for somebody until a moment. When that is past they are
//! free, whether or not somebody has cleaned up. Not for what is done with one: see the files below.

mod consume;
mod create;
mod expire;
mod extend;
mod held;
mod list;
mod release;

use kernel::{Error, Id, IdKind, Quantity, Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use serde::Serialize;
use service::Operation;
use utoipa::ToSchema;

pub(crate) use expire::{Sweep, held_by_expired, release_expired, release_open};

use crate::item::ItemId;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_reservation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ReservationId,
    pub item_id: ItemId,
    pub quantity: Quantity,
    pub state: String,
    pub expires_at: Timestamp,
    pub reference: Option<String>,
    pub extended: bool,
    pub ended_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub version: i64,
    pub updated_at: Timestamp,
    pub updated_by: String,
    pub deleted_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_entity!(Entity, Reservation, "inventory.reservation", |row: &Model| {
    serde_json::to_value(Reservation::view(row, Timestamp(i64::MIN))).unwrap_or_default()
});

/// Units of an item that are held for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// Names the reservation.
    pub id: ReservationId,
    /// The item.
    pub item_id: ItemId,
    /// How many units are held.
    pub quantity: Quantity,
    /// `open`, `consumed`, `released` or `expired`.
    pub state: String,
    /// Until when they are held.
    pub expires_at: Timestamp,
    /// What they are held for, such as an order.
    pub reference: Option<String>,
    /// Whether the time was extended; it can be once.
    pub extended: bool,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// Counts its changes; the ETag is `"v<version>"`.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Names a reservation.
pub type ReservationId = Id<Reservation>;

impl IdKind for Reservation {
    const PREFIX: &'static str = "rsv";
}

impl Reservation {
    /// Returns the public view at this moment: one whose time is up is `expired`, whatever is stored.
    pub(crate) fn view(row: &Model, now: Timestamp) -> Self {
        let expired = row.state == OPEN && row.expires_at <= now;
        Self {
            id: row.id,
            item_id: row.item_id,
            quantity: row.quantity,
            state: if expired { EXPIRED.to_owned() } else { row.state.clone() },
            expires_at: row.expires_at,
            reference: row.reference.clone(),
            extended: row.extended,
            ended_at: if expired { Some(row.expires_at) } else { row.ended_at },
            version: row.version,
            created_at: row.created_at,
        }
    }
}

/// The states of a reservation.
pub(crate) const OPEN: &str = "open";
pub(crate) const CONSUMED: &str = "consumed";
pub(crate) const RELEASED: &str = "released";
pub(crate) const EXPIRED: &str = "expired";

/// It holds nothing any more.
fn ended(row: &Model, now: Timestamp) -> Error {
    let message = match Reservation::view(row, now) {
        Reservation { state, ended_at: Some(at), .. } => format!("the reservation was {state} at {at}"),
        Reservation { state, .. } => format!("the reservation is {state}"),
    };
    Error::conflict("inventory.reservation_ended", message)
}

/// Returns what is done with reservations.
pub(crate) fn operations() -> [Operation; 6] {
    let [list, get] = list::operations();
    [create::operation(), list, get, extend::operation(), consume::operation(), release::operation()]
}
