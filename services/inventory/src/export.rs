//! Exports the whole ledger, with the SKU of each line's item, so that another tenant can import it. Not
//! for one item's ledger: see `movement`.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use kernel::{Money, Quantity, Result, Timestamp};
use sea_orm::ColumnTrait as _;
use serde::{Deserialize, Serialize};
use service::{App, Export, ExportFormat, ExportSource, Operation, Shape};
use store::{Reader, Scoped};
use utoipa::ToSchema;
use web::{Caller, Query};

use crate::batch::BatchId;
use crate::item::{self, ItemId};
use crate::movement::{self, Movement, MovementId};

/// A line of the ledger as an export gives it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExportedMovement {
    /// Names the movement.
    id: MovementId,
    /// The item that moved.
    item_id: ItemId,
    /// The item's stock-keeping unit, as it is now.
    sku: String,
    /// By how many units; negative is out.
    delta: Quantity,
    /// Why.
    reason: String,
    /// What somebody noted about it.
    note: Option<String>,
    /// When it happened.
    occurred_at: Timestamp,
    /// The batch that moved, where it was one.
    batch_id: Option<BatchId>,
    /// What all of it was worth, in minor units of the tenant's currency.
    amount: Option<Money>,
    /// What it belongs to elsewhere, such as an order.
    reference: Option<String>,
    /// The movement that this one takes back.
    reverses: Option<MovementId>,
    /// When it was written.
    created_at: Timestamp,
    /// Who wrote it.
    created_by: String,
}

const COLUMNS: [&str; 13] = [
    "id",
    "itemId",
    "sku",
    "delta",
    "reason",
    "note",
    "occurredAt",
    "batchId",
    "amount",
    "reference",
    "reverses",
    "createdAt",
    "createdBy",
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    format: ExportFormat,
}

/// Returns `GET /api/inventory/export/logs`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/inventory/export/logs", "inventory_export_movements", export)
        .permission("inventory.movements.export")
        .shape(Shape::Success)
        .query::<ExportFormat>("format", "The format; JSON unless said.")
        .describe(
            "Export the whole ledger",
            "Streams all movements, oldest first, and writes `audit.export`. `POST /api/inventory/import?kind=movements` \
             takes the file. In CSV, text that a spreadsheet would run as a formula starts with an apostrophe.",
        )
        .gives::<Vec<ExportedMovement>>(200, "The export")
        .also(200, "text/csv")
        .problems(&[400])
}

async fn export(State(app): State<App>, Caller(ctx): Caller, Query(asked): Query<Asked>) -> web::Result<Response> {
    let export = Export {
        about: "inventory.movements".to_owned(),
        file: "movements",
        format: asked.format,
        columns: COLUMNS.to_vec(),
        deleted: false,
    };
    export.answer(app, ctx, Ledger::default()).await
}

/// The ledger, and the SKUs that are known by now.
#[derive(Default)]
struct Ledger {
    skus: HashMap<ItemId, String>,
}

/// How many SKUs are remembered from page to page: an export stays small however many items there are.
const REMEMBERED: usize = 10_000;

impl ExportSource for Ledger {
    type Entity = movement::Entity;
    type View = ExportedMovement;

    fn select<'r>(&self, reader: &'r Reader<'_>) -> Scoped<'r, movement::Entity> {
        reader.select_with_deleted()
    }

    async fn views(&mut self, reader: &Reader<'_>, rows: Vec<movement::Model>) -> Result<Vec<ExportedMovement>> {
        if self.skus.len() > REMEMBERED {
            self.skus.clear();
        }
        let mut unknown: Vec<ItemId> =
            rows.iter().map(|row| row.item_id).filter(|item| !self.skus.contains_key(item)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let items = reader.select_with_deleted::<item::Entity>().filter(item::Column::Id.is_in(unknown));
            self.skus.extend(items.all().await?.into_iter().map(|item| (item.id, item.sku)));
        }
        Ok(rows.into_iter().map(|row| self.view(row)).collect())
    }
}

impl Ledger {
    fn view(&self, row: movement::Model) -> ExportedMovement {
        let sku = self.skus.get(&row.item_id).cloned().unwrap_or_default();
        let line = Movement::from(row);
        ExportedMovement {
            id: line.id,
            item_id: line.item_id,
            sku,
            delta: line.delta,
            reason: line.reason,
            note: line.note,
            occurred_at: line.occurred_at,
            batch_id: line.batch_id,
            amount: line.amount,
            reference: line.reference,
            reverses: line.reverses,
            created_at: line.created_at,
            created_by: line.created_by,
        }
    }
}
