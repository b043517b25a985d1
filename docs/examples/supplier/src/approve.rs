//! Approves a supplier once, up to an amount: the row and the event in one transaction. Not for
//! changing the amount later.

use axum::extract::State;
use kernel::{Answer, Error, Money};
use sea_orm::ColumnTrait as _;
use serde::Deserialize;
use serde_json::json;
use service::{App, Operation, Resource as _};
use store::not_found;
use utoipa::ToSchema;
use web::{Body, Caller, IfMatch, Path};

use crate::supplier::{Column, Entity, Supplier, SupplierId};

/// What an approval takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApproveSupplier {
    /// The largest order that it may get, in the currency's minor unit.
    #[schema(minimum = 1)]
    order_limit: Money,
}

/// Returns `POST /api/example/suppliers/{id}/approve`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/example/suppliers/{id}/approve", "example_approve_supplier", approve)
        .permission("example.suppliers.approve")
        .describe(
            "Approve a supplier",
            "Sets the largest order and writes `example.supplier.approved`. A supplier is approved \
             once: 409 `example.supplier_already_approved`.",
        )
        .takes::<ApproveSupplier>()
        .gives::<Supplier>(200, "Approved")
        .problems(&[400, 404, 409, 412, 415])
}

async fn approve(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(id): Path<SupplierId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<ApproveSupplier>,
) -> web::Result {
    let limit = input.order_limit;
    if limit.0 < 1 {
        let error = Error::invalid("request.invalid_body", "the body is not valid");
        return Err(error.field("orderLimit", "must be at least 1").into());
    }
    let mut writer = app.store.write(&mut ctx).await?;
    let approved = writer
        .change::<Entity>(id)
        .expect_version(expected)
        .set(Column::OrderLimit, Some(limit))
        .guard(Column::OrderLimit.is_null())
        .event_data(move |row| json!({ "name": row.name, "orderLimit": limit }))
        .run_if("approved")
        .await?;
    let Some(row) = approved else {
        let found = writer.select::<Entity>().id(id).one().await?.ok_or_else(not_found)?;
        if expected.is_some_and(|version| version != found.version) {
            return Err(store::version_mismatch().into());
        }
        let message = "this supplier is approved already";
        return Err(Error::conflict("example.supplier_already_approved", message).into());
    };
    let answer = Answer::ok(&Supplier::view(&row))?.version(row.version);
    Ok(writer.commit(answer).await?.into())
}
