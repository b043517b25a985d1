//! `GET /api/inventory/overview`: how the stock stands, as this service knows it now, beside what the
//! analytics service makes of its history. When that service is away, its last good answer is shown
//! and says so. Not for figures of history: those are its business.

use axum::extract::State;
use contracts::Answered;
use contracts::analytics::{AnalyticsClient, InventorySummary, SummaryQuery};
use kernel::{Answer, Result, Timestamp};
use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait as _, Func, SimpleExpr};
use sea_orm::{ColumnTrait as _, Condition, FromQueryResult};
use serde::{Deserialize, Serialize};
use service::{App, Operation, Shape};
use utoipa::ToSchema;
use web::{Caller, Onward, Query};

use crate::item::{self, Column};

/// How the stock stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InventoryOverview {
    /// How many items there are.
    items: i64,
    /// How many of them have, beside what is reserved, no more than their low-stock level.
    short: i64,
    /// How many of them have no stock.
    out_of_stock: i64,
    /// What the analytics service says of the last thirty days.
    analytics: AnalyticsAnswer,
}

/// An answer of the analytics service.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AnalyticsAnswer {
    /// The figures.
    data: InventorySummary,
    /// Whether they are its last good answer, because it gives none now.
    stale: bool,
    /// When it gave them.
    as_of: Timestamp,
}

impl From<Answered<InventorySummary>> for AnalyticsAnswer {
    fn from(answered: Answered<InventorySummary>) -> Self {
        Self { data: answered.data, stale: answered.stale, as_of: answered.as_of }
    }
}

/// What it may be asked: nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {}

/// Returns `GET /api/inventory/overview`.
pub(crate) fn operation() -> Operation {
    let client = AnalyticsClient::default();
    let get = move |State(app): State<App>, caller: Caller, onward: Onward, Query(Asked {}): Query<Asked>| {
        get(app, client.clone(), caller, onward)
    };
    Operation::get("/api/inventory/overview", "inventory_get_overview", get)
        .permission("inventory.items.read")
        .shape(Shape::Success)
        .describe(
            "See how the stock stands",
            "Counts the items that are there, short and without stock, and adds the analytics service's summary of the \
             last thirty days, which takes the permission `analytics.inventory.read` too. When that service does not \
             answer in time, `analytics` is its last good answer to the tenant, at most a day old: then `stale` is true, \
             and `asOf` says when it was given. Where there is none: 503 `peer.away`.",
        )
        .gives::<InventoryOverview>(200, "The overview")
        .problems(&[400, 503])
}

async fn get(app: App, client: AnalyticsClient, Caller(ctx): Caller, onward: Onward) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let own = count(&reader).await?;
    // Closed first: the other service may take its time.
    reader.close().await?;
    let analytics = client.summary(&app, &onward, &SummaryQuery::default()).await?.into();
    let overview = InventoryOverview {
        items: own.items.unwrap_or(0),
        short: own.short.unwrap_or(0),
        out_of_stock: own.out_of_stock.unwrap_or(0),
        analytics,
    };
    Ok(Answer::ok(&overview)?.into())
}

#[derive(Debug, Default, FromQueryResult)]
struct Own {
    items: Option<i64>,
    short: Option<i64>,
    out_of_stock: Option<i64>,
}

async fn count(reader: &store::Reader<'_>) -> Result<Own> {
    let available = Expr::col(Column::Quantity).sub(Expr::col(Column::Reserved));
    let figures = reader.select::<item::Entity>().figures();
    let figures = figures
        .figure("items", count_if(Condition::all().add(Column::Id.is_not_null())))
        .figure("short", count_if(Condition::all().add(available.lte(Expr::col(Column::LowStockLevel)))))
        .figure("out_of_stock", count_if(Condition::all().add(Column::Quantity.lte(0i64))));
    Ok(figures.one().await?.unwrap_or_default())
}

fn count_if(condition: Condition) -> SimpleExpr {
    let each = SimpleExpr::Case(Box::new(CaseStatement::new().case(condition, 1i64).finally(0i64)));
    SimpleExpr::from(Func::sum(each)).cast_as(Alias::new("BIGINT"))
}
