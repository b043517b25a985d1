//! Remembers what a request with an Idempotency-Key was answered, in the transaction of its
//! change. The row is inserted when the Writer opens, so a concurrent duplicate waits for the
//! first one, and filled in when it commits. Not for errors: those change nothing and are simply
//! computed again.

use kernel::{Answer, Error, Idempotency, Result};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbErr};

use crate::event::Stamp;
use crate::session::Session;

const TABLE: &str = "idempotency_key";

fn column(name: &str) -> Alias {
    Alias::new(name)
}

/// What the key turned out to be.
pub(crate) enum Claim {
    /// New: the work goes on.
    Ours,
    /// Used before for the same request: give this answer again.
    Answered(Answer),
}

/// Claims the key, or finds the answer that it was given.
pub(crate) async fn claim(session: &Session, stamp: &Stamp, key: &Idempotency) -> Result<Claim> {
    let mut insert = Query::insert();
    insert
        .into_table(column(TABLE))
        .columns(["tenant_id", "actor", "scope", "key", "fingerprint", "created_at"].map(column))
        .values_panic([
            stamp.tenant.into(),
            stamp.actor.clone().into(),
            key.scope.clone().into(),
            key.key.clone().into(),
            key.fingerprint.to_vec().into(),
            stamp.now.into(),
        ])
        .on_conflict(OnConflict::new().do_nothing().to_owned());
    let lent = session.lend().await?;
    let inserted = lent.execute(&insert).await;
    if lent.check(inserted)?.rows_affected() == 1 {
        return Ok(Claim::Ours);
    }
    let lent = session.lend().await?;
    let found = lent.query_one(&stored(stamp, key)).await;
    let row = lent.check(found)?.ok_or_else(in_flight)?;
    let fingerprint: Vec<u8> = row.try_get("", "fingerprint").map_err(crate::failure::from_database)?;
    if fingerprint != key.fingerprint {
        return Err(Error::invalid(
            "request.idempotency_key_reused",
            "this Idempotency-Key was used for a different request: send a new key",
        )
        .status_code(422));
    }
    let read = || -> Result<Option<Answer>, DbErr> {
        let Some(status) = row.try_get::<Option<i64>>("", "status")? else { return Ok(None) };
        Ok(Some(Answer {
            status: u16::try_from(status).unwrap_or(200),
            body: row.try_get::<Option<String>>("", "body")?.unwrap_or_default(),
            version: row.try_get("", "version")?,
            location: row.try_get("", "location")?,
            replayed: true,
        }))
    };
    read().map_err(crate::failure::from_database)?.map(Claim::Answered).ok_or_else(in_flight)
}

fn in_flight() -> Error {
    Error::conflict("request.in_progress", "a request with this Idempotency-Key is still being worked on")
        .retry_after(1)
}

fn stored(stamp: &Stamp, key: &Idempotency) -> SelectStatement {
    Query::select()
        .columns(["fingerprint", "status", "body", "version", "location"].map(column))
        .from(column(TABLE))
        .and_where(Expr::col(column("tenant_id")).eq(stamp.tenant))
        .and_where(Expr::col(column("actor")).eq(stamp.actor.as_str()))
        .and_where(Expr::col(column("scope")).eq(key.scope.as_str()))
        .and_where(Expr::col(column("key")).eq(key.key.as_str()))
        .take()
}

/// Stores the answer beside the change that it tells of.
pub(crate) async fn remember(session: &Session, stamp: &Stamp, key: &Idempotency, answer: &Answer) -> Result<()> {
    let update = Query::update()
        .table(column(TABLE))
        .values([
            (column("status"), i64::from(answer.status).into()),
            (column("body"), answer.body.as_str().into()),
            (column("version"), answer.version.into()),
            (column("location"), answer.location.clone().into()),
        ])
        .and_where(Expr::col(column("tenant_id")).eq(stamp.tenant))
        .and_where(Expr::col(column("actor")).eq(stamp.actor.as_str()))
        .and_where(Expr::col(column("scope")).eq(key.scope.as_str()))
        .and_where(Expr::col(column("key")).eq(key.key.as_str()))
        .take();
    let lent = session.lend().await?;
    let updated = lent.execute(&update).await;
    lent.check(updated).map(|_| ())
}

/// Removes the keys that were claimed before this moment, and says how many.
pub async fn purge_idempotency_keys(store: &crate::Store, before: kernel::Timestamp) -> Result<u64> {
    let system = store.system(crate::Purpose::Housekeeping).await?;
    let delete = Query::delete().from_table(column(TABLE)).and_where(Expr::col(column("created_at")).lt(before)).take();
    let removed = system.execute(&delete).await?;
    system.commit().await?;
    Ok(removed)
}
