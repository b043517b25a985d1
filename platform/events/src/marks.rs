//! How far subscriptions and sinks have come in the log, and which process works on them. A mark
//! only saves reading again: what was applied is decided by each tenant's cursor. Not for cursors.

use std::time::Duration;

use kernel::{Result, Timestamp};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _};
use store::{Purpose, Store};

use crate::tables::mark::{Column, Entity, Model};

/// For how long a process has a subscription for itself.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// Returns the marks of all subscriptions and sinks, of those too that no service declares any more.
pub(crate) async fn all(store: &Store) -> Result<Vec<Model>> {
    let system = store.system_read(Purpose::Dispatch).await?;
    let rows = system.all(Entity::find()).await?;
    system.close().await?;
    Ok(rows)
}

/// Returns the mark, and makes one at this position where there is none.
pub(crate) async fn load(store: &Store, name: &str, first: i64) -> Result<Model> {
    let select = || Entity::find().filter(Column::Name.eq(name));
    let system = store.system_read(Purpose::Dispatch).await?;
    let found = system.one(select()).await?;
    system.close().await?;
    if let Some(found) = found {
        return Ok(found);
    }
    let system = store.system(Purpose::Dispatch).await?;
    let columns = [Column::Name, Column::Position, Column::Generation, Column::LeaseUntil, Column::UpdatedAt];
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(columns);
    insert.values_panic([name.into(), first.into(), 0i64.into(), 0i64.into(), system.now().into()]);
    // Two processes may start at the same moment.
    insert.on_conflict(OnConflict::column(Column::Name).do_nothing().to_owned());
    system.execute(&insert).await?;
    let made = system.one(select()).await?;
    system.commit().await?;
    made.ok_or_else(|| kernel::Error::internal(format!("the mark of {name} vanished")))
}

/// Moves the mark forward, never back; says whether the generation is still this one.
pub(crate) async fn advance(store: &Store, name: &str, generation: i64, position: i64) -> Result<bool> {
    let system = store.system(Purpose::Dispatch).await?;
    let further = CaseStatement::new()
        .case(Expr::col(Column::Position).lt(position), Expr::val(position))
        .finally(Expr::col(Column::Position));
    let update = Query::update()
        .table(Entity)
        .value(Column::Position, further)
        .value(Column::UpdatedAt, system.now())
        .and_where(Expr::col(Column::Name).eq(name))
        .and_where(Expr::col(Column::Generation).eq(generation))
        .take();
    let moved = system.execute(&update).await?;
    system.commit().await?;
    Ok(moved > 0)
}

/// Takes or renews the lease; with `force` also one that another process holds.
pub(crate) async fn claim(store: &Store, name: &str, process: &str, force: bool) -> Result<Option<Timestamp>> {
    let system = store.system(Purpose::Dispatch).await?;
    let until = system.now().plus(LEASE);
    let mut free = Condition::any()
        .add(Column::LeaseHolder.is_null())
        .add(Column::LeaseHolder.eq(process))
        .add(Column::LeaseUntil.lt(system.now()));
    if force {
        free = free.add(Column::Name.eq(name));
    }
    let update = Query::update()
        .table(Entity)
        .value(Column::LeaseHolder, process)
        .value(Column::LeaseUntil, until)
        .and_where(Expr::col(Column::Name).eq(name))
        .cond_where(free)
        .take();
    let taken = system.execute(&update).await?;
    system.commit().await?;
    Ok((taken > 0).then_some(until))
}

/// Gives all leases of a process back.
pub(crate) async fn release(store: &Store, process: &str) -> Result<()> {
    let system = store.system(Purpose::Dispatch).await?;
    let update = Query::update()
        .table(Entity)
        .value(Column::LeaseHolder, Option::<String>::None)
        .and_where(Expr::col(Column::LeaseHolder).eq(process))
        .take();
    system.execute(&update).await?;
    system.commit().await
}
