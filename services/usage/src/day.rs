//! What was used on a day of UTC with a model: added to with each call that is settled, so that a summary reads a row
//! a day and not a row a call. Not for single calls.

use kernel::{Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use store::Writer;

use crate::call::Spent;
use crate::counter::id_of;

/// A row of the table; its id is made of day and model.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_day")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DayId,
    /// Days since 1970.
    pub day: i64,
    pub model: String,
    pub calls: i64,
    pub estimated_calls: i64,
    pub input: i64,
    pub cached: i64,
    pub cache_write: i64,
    pub output: i64,
    pub estimated_tokens: i64,
    pub cost_nano: i64,
    pub estimated_nano: i64,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, UsageDay);

/// Marks the ids of these rows.
#[derive(Debug)]
pub struct UsageDay;

impl IdKind for UsageDay {
    const PREFIX: &'static str = "usd";
}

/// Names a row.
pub type DayId = Id<UsageDay>;

/// What is added to each column.
type Figures = [(Column, i64); 9];

fn figures(spent: Spent, sign: i64) -> Figures {
    let Spent { tokens, cost_nano, estimated, .. } = spent;
    let part = |amount: i64| if estimated { amount } else { 0 };
    [
        (Column::Calls, 1),
        (Column::EstimatedCalls, part(1)),
        (Column::Input, tokens.input),
        (Column::Cached, tokens.cached),
        (Column::CacheWrite, tokens.cache_write),
        (Column::Output, tokens.output),
        (Column::EstimatedTokens, part(tokens.total())),
        (Column::CostNano, cost_nano),
        (Column::EstimatedNano, part(cost_nano)),
    ]
    .map(|(column, amount)| (column, amount.saturating_mul(sign)))
}

/// Adds a call to its day, and takes out what was entered of it before. It comes last in a transaction: everybody
/// in the tenant waits for the same row.
pub(crate) async fn enter(
    writer: &mut Writer<'_>,
    day: i64,
    model: &str,
    spent: Spent,
    before: Option<Spent>,
) -> Result<()> {
    let mut added = figures(spent, 1);
    if let Some(before) = before {
        for ((_, amount), (_, less)) in added.iter_mut().zip(figures(before, -1)) {
            *amount = amount.saturating_add(less);
        }
    }
    let id: DayId = id_of(writer.tenant(), &[&day.to_string(), model]);
    if add(writer, id, &added).await? {
        return Ok(());
    }
    writer.alone("usage.days").await?;
    if add(writer, id, &added).await? {
        return Ok(());
    }
    let mut row = ActiveModel { id: Set(id), day: Set(day), model: Set(model.to_owned()), ..Default::default() };
    for (column, amount) in added {
        row.set(column, amount.into());
    }
    writer.append::<Entity>(row).await.map(|_| ())
}

async fn add(writer: &mut Writer<'_>, id: DayId, added: &Figures) -> Result<bool> {
    let mut update = Entity::update_many().filter(Column::Id.eq(id));
    for (column, amount) in added {
        update = update.col_expr(*column, Expr::col(*column).add(*amount));
    }
    Ok(writer.revise(update).await? == 1)
}
