//! How an endpoint is doing: failures in a row, since when, and until when it is left alone. Our own
//! bookkeeping, so it makes no events and no versions. Not for single attempts: see `attempt`.

use kernel::{Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, Condition};
use store::Writer;

use crate::endpoint::{Endpoint, EndpointId};
use crate::schedule;

/// A row of the table; its id is the endpoint's.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks_standing")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EndpointId,
    pub failures: i64,
    pub failing_since: Option<Timestamp>,
    pub wait_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Endpoint);

impl Model {
    /// Says whether only probes are sent.
    pub(crate) fn is_broken(&self) -> bool {
        self.failures >= schedule::BREAKER
    }
}

/// Begins to keep how an endpoint is doing.
pub(crate) async fn begin(writer: &mut Writer<'_>, endpoint: EndpointId) -> Result<()> {
    let row = ActiveModel {
        id: Set(endpoint),
        failures: Set(0),
        failing_since: Set(None),
        wait_until: Set(None),
        ..Default::default()
    };
    writer.append::<Entity>(row).await.map(|_| ())
}

/// Forgets failures: it answered, or somebody changed it and it gets a new chance.
pub(crate) async fn clear(writer: &mut Writer<'_>, endpoint: EndpointId) -> Result<()> {
    let none = || Expr::val(None::<i64>);
    let update = Entity::update_many()
        .col_expr(Column::Failures, Expr::val(0_i64))
        .col_expr(Column::FailingSince, none())
        .col_expr(Column::WaitUntil, none())
        .filter(Column::Id.eq(endpoint))
        .filter(Condition::any().add(Column::Failures.gt(0)).add(Column::WaitUntil.is_not_null()));
    writer.revise(update).await.map(|_| ())
}

/// Notes one more failure, and leaves the endpoint alone for a while when it has to be; gives how it is
/// doing now.
pub(crate) async fn failed(
    writer: &mut Writer<'_>,
    endpoint: EndpointId,
    asked_until: Option<Timestamp>,
) -> Result<Option<Model>> {
    let now = writer.now();
    let query = writer.select_with_deleted::<Entity>().id(endpoint).lock();
    let Some(mut row) = query.one().await? else { return Ok(None) };
    row.failures += 1;
    row.failing_since = row.failing_since.or(Some(now));
    let probe = row.is_broken().then(|| now.plus(schedule::probe_after(row.failures)));
    row.wait_until = row.wait_until.max(probe).max(asked_until);
    let update = Entity::update_many()
        .col_expr(Column::Failures, Expr::val(row.failures))
        .col_expr(Column::FailingSince, Expr::val(row.failing_since))
        .col_expr(Column::WaitUntil, Expr::val(row.wait_until))
        .filter(Column::Id.eq(endpoint));
    writer.revise(update).await?;
    Ok(Some(row))
}

/// Takes the right to send the next probe; only one delivery gets it.
pub(crate) async fn take_probe(writer: &mut Writer<'_>, standing: &Model) -> Result<bool> {
    let now = writer.now();
    let next = now.plus(schedule::probe_after(standing.failures));
    let update = Entity::update_many()
        .col_expr(Column::WaitUntil, Expr::val(next))
        .filter(Column::Id.eq(standing.id))
        .filter(Condition::any().add(Column::WaitUntil.is_null()).add(Column::WaitUntil.lte(now)));
    Ok(writer.revise(update).await? == 1)
}
