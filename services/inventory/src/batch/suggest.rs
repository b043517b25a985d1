//! Says which units of an item to take: first expired, first out. Not for taking or holding them.

use axum::extract::State;
use kernel::{Answer, Error, Quantity, Timestamp};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Shape, UpTo};
use utoipa::ToSchema;
use web::{Caller, Path, Query};

use super::BatchId;
use super::consume;
use super::there::There;
use crate::item::ItemId;
use crate::stock::MOST;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    quantity: Quantity,
}

/// Which units to take.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Suggestion {
    /// The item.
    item_id: ItemId,
    /// How many units were asked for.
    quantity: Quantity,
    /// Whether that many can be taken now.
    sufficient: bool,
    /// How many can: usable, and reserved by nobody.
    free: Quantity,
    /// What to take of which batch, in this order.
    batches: Vec<SuggestedBatch>,
    /// What to take of the units that are in no batch.
    loose: Quantity,
}

/// What to take of one batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SuggestedBatch {
    /// The batch.
    batch_id: BatchId,
    /// The supplier's number of it.
    code: String,
    /// How many units to take of it.
    quantity: Quantity,
    /// From when on they must not be used.
    expires_at: Option<Timestamp>,
}

/// Returns `GET /api/inventory/{id}/suggest`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/inventory/{id}/suggest", "inventory_suggest_batches", suggest)
        .path::<ItemId>("id")
        .permission("inventory.batches.read")
        .shape(Shape::Success)
        .required_query::<UpTo<{ MOST as u64 }>>("quantity", "How many units are needed.")
        .describe(
            "Say which batches to take units of",
            "First expired, first out: of the batches that are neither expired nor failed, what expires first, then \
             what came first, then what is in no batch. Holds nothing: by the time they are taken, others may have \
             been faster.",
        )
        .gives::<Suggestion>(200, "The suggestion")
        .problems(&[400, 404])
}

async fn suggest(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<ItemId>,
    Query(asked): Query<Asked>,
) -> web::Result {
    let wanted = asked.quantity;
    consume::check(wanted, None, app.now()).map_err(|_| refused())?;
    let reader = app.store.read(&ctx).await?;
    let there = There::read(&reader, id, app.now()).await?;
    reader.close().await?;
    let plan = there.plan(wanted.0);
    let found = |id| there.batches.iter().find(|batch| batch.id == id);
    let batches = plan.lines.iter().filter_map(|(id, taken)| found(*id).map(|batch| (batch, *taken)));
    let batches = batches.map(|(batch, taken)| SuggestedBatch {
        batch_id: batch.id,
        code: batch.code.clone(),
        quantity: Quantity(taken),
        expires_at: batch.expires_at,
    });
    let suggestion = Suggestion {
        item_id: id,
        quantity: wanted,
        sufficient: wanted.0 <= there.free(),
        free: Quantity(there.free().max(0)),
        batches: batches.collect(),
        loose: Quantity(plan.loose),
    };
    Ok(Answer::ok(&suggestion)?.into())
}

fn refused() -> Error {
    Error::invalid("request.invalid_query", "the query is not valid")
        .field("quantity", format!("must be a number from 1 to {MOST}"))
}
