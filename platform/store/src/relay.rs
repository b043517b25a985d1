//! Gives events their positions on PostgreSQL, after they are committed (decision 0003). Any
//! number of processes may run it: the row of `event_position` is the fence, and a reader that has
//! seen position p never later meets a smaller one. Not needed on SQLite.

use kernel::Result;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, LockType, Order, Query};

use crate::system::{Purpose, System};
use crate::{Engine, Store, fault};

const BATCH: u64 = 1_000;

/// Numbers the events that wait, and says how many there were.
pub async fn assign_positions(store: &Store) -> Result<u64> {
    if store.engine() == Engine::Sqlite {
        return Ok(0);
    }
    let mut assigned = 0;
    loop {
        let system = store.system(Purpose::Relay).await?;
        let count = assign_batch(&system).await?;
        if count > 0 {
            fault::point("relay.before_commit").await?;
        }
        system.commit().await?;
        assigned += count;
        if count > 0 {
            fault::point("relay.after_commit").await?;
            store.ring();
        }
        if count < BATCH {
            return Ok(assigned);
        }
    }
}

async fn assign_batch(system: &System) -> Result<u64> {
    let (log, counter) = (Alias::new("event_log"), Alias::new("event_position"));
    let (seq, position, last) = (Alias::new("seq"), Alias::new("position"), Alias::new("last"));
    // Look before taking the fence, so that an idle relay writes nothing.
    let waiting = Query::select()
        .column(seq.clone())
        .from(log.clone())
        .and_where(Expr::col(position.clone()).is_null())
        .order_by(seq.clone(), Order::Asc)
        .limit(BATCH)
        .take();
    if system.rows(&waiting).await?.is_empty() {
        return Ok(0);
    }
    let fence = Query::select().column(last.clone()).from(counter.clone()).lock(LockType::Update).take();
    let fenced = system.rows(&fence).await?;
    let row = fenced.first().ok_or_else(|| kernel::Error::internal("event_position has lost its row"))?;
    let start: i64 = row.try_get_by_index(0).map_err(crate::failure::from_database)?;
    // Read again behind the fence: what another relay numbered meanwhile is not ours.
    let rows = system.rows(&waiting).await?;
    let mut next = start;
    let mut numbers = Query::update().table(log.clone()).take();
    let mut case = sea_orm::sea_query::CaseStatement::new();
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let own: i64 = row.try_get_by_index(0).map_err(crate::failure::from_database)?;
        next += 1;
        case = case.case(Expr::col(seq.clone()).eq(own), Expr::val(next));
        taken.push(own);
    }
    if taken.is_empty() {
        return Ok(0);
    }
    numbers.value(position, case).and_where(Expr::col(seq).is_in(taken.iter().copied()));
    system.execute(&numbers).await?;
    let moved = Query::update().table(counter).value(last, next).and_where(Expr::col(Alias::new("id")).eq(1)).take();
    system.execute(&moved).await?;
    Ok(taken.len() as u64)
}
