//! Proves that what is kept beside the ledger agrees with it: the stock of items and batches, and what
//! reservations hold. Finds, and repairs nothing. Not for tenants: it reads all of them.

use axum::extract::State;
use futures_util::future::BoxFuture;
use kernel::{Answer, PermissionSet, Result, TenantId};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ColumnTrait as _, Iden, QueryResult};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{Access, App, Operation};
use store::{Event, Purpose, Store, from_database};
use tasks::Scheduled;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{batch, item, movement, reservation};

/// How many differences are shown.
const SHOWN: u64 = 100;

/// What was compared, and where it differs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// How many items were compared, deleted ones too.
    pub items: i64,
    /// How many batches were.
    pub batches: i64,
    /// How many lines the ledgers have.
    pub movements: i64,
    /// How many reservations hold something.
    pub reservations: i64,
    /// Where something differs; the first hundred of each kind.
    pub drift: Vec<Drift>,
}

/// A number that does not agree with the lines that it sums up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// `item.quantity`, `item.reserved`, `item.batched` or `batch.quantity`.
    pub what: String,
    /// The item's SKU or the batch's code.
    pub name: String,
    /// What is kept.
    pub kept: i64,
    /// What the lines add up to.
    pub lines: i64,
}

const MOVED: &str = "CAST(COALESCE((SELECT SUM(line.delta) FROM inventory_movement AS line WHERE \
    line.tenant_id = inventory_item.tenant_id AND line.item_id = inventory_item.id), 0) AS BIGINT)";
const HELD: &str = "CAST(COALESCE((SELECT SUM(line.quantity) FROM inventory_reservation AS line WHERE \
    line.tenant_id = inventory_item.tenant_id AND line.item_id = inventory_item.id AND line.state = 'open' \
    AND line.deleted_at IS NULL), 0) AS BIGINT)";
const IN_BATCHES: &str = "CAST(COALESCE((SELECT SUM(line.quantity) FROM inventory_batch AS line WHERE \
    line.tenant_id = inventory_item.tenant_id AND line.item_id = inventory_item.id), 0) AS BIGINT)";
const BATCH_MOVED: &str = "CAST(COALESCE((SELECT SUM(line.delta) FROM inventory_movement AS line WHERE \
    line.tenant_id = inventory_batch.tenant_id AND line.batch_id = inventory_batch.id), 0) AS BIGINT)";

/// Where the comparison is asked for.
pub const LEDGER: &str = "/operator/inventory/ledger";

/// Returns `GET /operator/inventory/ledger`.
pub(crate) fn operation() -> Operation {
    Operation::get(LEDGER, "inventory_verify_ledger", answer)
        .access(Access::Operator)
        .describe(
            "Compare stock with its ledger",
            "Sums up every item's and batch's movements and every open reservation of all tenants, in one snapshot, \
             and gives what differs from the numbers that are kept beside them: nothing should. It changes nothing. \
             The same is done every night; what differs is told to the tenant's administrators. Needs the operator \
             token.",
        )
        .gives::<Verification>(200, "Compared")
        .problems(&[401])
}

async fn answer(State(app): State<App>) -> web::Result {
    Ok(Answer::ok(&verify(&app.store).await?)?.into())
}

/// Compares everything, in one snapshot.
pub async fn verify(store: &Store) -> Result<Verification> {
    let system = store.system_read(Purpose::Health).await?;
    let open = reservation::Column::State.eq("open");
    let counts = [
        Query::select().expr(Expr::cust("COUNT(*)")).from(item::Entity).to_owned(),
        Query::select().expr(Expr::cust("COUNT(*)")).from(batch::Entity).to_owned(),
        Query::select().expr(Expr::cust("COUNT(*)")).from(movement::Entity).to_owned(),
        Query::select().expr(Expr::cust("COUNT(*)")).from(reservation::Entity).and_where(open).to_owned(),
    ];
    let mut counted = [0; 4];
    for (count, query) in counted.iter_mut().zip(&counts) {
        let rows = system.rows(query).await?;
        *count = rows.first().map(|row| row.try_get_by_index(0)).transpose().map_err(from_database)?.unwrap_or(0);
    }
    let mut drift = Vec::new();
    for (what, query) in [
        ("item.quantity", differing(item::Entity, "sku", "quantity", MOVED)),
        ("item.reserved", differing(item::Entity, "sku", "reserved", HELD)),
        ("item.batched", differing(item::Entity, "sku", "batched", IN_BATCHES)),
        ("batch.quantity", differing(batch::Entity, "code", "quantity", BATCH_MOVED)),
    ] {
        for row in system.rows(&query).await? {
            drift.push(differs(what, &row).map_err(from_database)?);
        }
    }
    system.close().await?;
    let [items, batches, movements, reservations] = counted;
    Ok(Verification { items, batches, movements, reservations, drift })
}

fn differing(
    table: impl Iden + 'static,
    name: &'static str,
    kept: &'static str,
    lines: &'static str,
) -> SelectStatement {
    let table = table.to_string();
    Query::select()
        .expr(Expr::cust("tenant_id"))
        .expr(Expr::cust(name))
        .expr(Expr::cust(kept))
        .expr(Expr::cust(lines))
        .from(table)
        .and_where(Expr::cust(kept).ne(Expr::cust(lines)))
        .limit(SHOWN)
        .to_owned()
}

fn differs(what: &str, row: &QueryResult) -> Result<Drift, sea_orm::DbErr> {
    let tenant: Uuid = row.try_get_by_index(0)?;
    Ok(Drift {
        tenant_id: TenantId::from_uuid(tenant),
        what: what.to_owned(),
        name: row.try_get_by_index(1)?,
        kept: row.try_get_by_index(2)?,
        lines: row.try_get_by_index(3)?,
    })
}

/// Compares everything once a day, and tells a tenant whose numbers differ.
pub(crate) struct Daily;

impl Scheduled for Daily {
    fn due<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for drift in verify(store).await?.drift {
                tracing::error!(
                    tenant.id = %drift.tenant_id,
                    what = drift.what,
                    kept = drift.kept,
                    lines = drift.lines,
                    "stock does not agree with its ledger"
                );
                let mut ctx = store::system_context(drift.tenant_id, PermissionSet::default());
                let mut writer = store.write(&mut ctx).await?;
                let message =
                    format!("{} of {} is {}, its lines add up to {}", drift.what, drift.name, drift.kept, drift.lines);
                let data = json!({
                    "title": "Stock does not agree with its ledger",
                    "message": message,
                    "drift": drift,
                    "dedupeKey": format!("inventory.ledger/{}/{}", drift.what, drift.name),
                });
                writer.record(Event::about("system.alert.raised", "inventory.ledger", data)).await?;
                writer.commit(Answer::no_content()).await?;
            }
            Ok(())
        })
    }
}
