//! Events that a subscription could not apply: set aside with what comes after them about the same
//! thing, tried again with growing pauses, and in the end parked until somebody decides. Everything
//! else of the tenant flows on. Not for the first try: see `apply`.

use std::time::Duration;

use kernel::{Answer, Error, Result, TenantId, printable};
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Set};
use serde_json::json;
use store::{Event, EventRow, Purpose, Store, Writer, fault};

use crate::apply::{self, lock};
use crate::subscription::Subscription;
use crate::tables::parked::{self, Column, Entity, Model};

/// How often an event is tried before it is parked.
pub(crate) const ATTEMPTS: i64 = 5;
/// The event that tells people of something that needs them.
pub const ALERT: &str = "system.alert.raised";
/// How much of an error is kept.
const ERROR_LENGTH: usize = 2_000;

/// The first event of a stream that was set aside, when it is time to try it.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub tenant: TenantId,
    pub subscription: String,
    pub subject: String,
}

/// Returns how long to wait after this many attempts: 1 s, doubling, give or take a fifth.
pub(crate) fn pause(attempts: i64, position: i64) -> Duration {
    let doubled = 1_000u64 << u32::try_from(attempts.clamp(1, 12) - 1).unwrap_or(0);
    // Chance that repeats, so that what failed together does not come back together.
    let mut bits = position.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ attempts.unsigned_abs();
    bits = (bits ^ (bits >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let fifth = doubled / 5;
    Duration::from_millis(doubled - fifth + (bits >> 33) % (2 * fifth + 1))
}

fn shortened(error: &str) -> String {
    let end = error.char_indices().nth(ERROR_LENGTH).map_or(error.len(), |(end, _)| end);
    printable(&error[..end])
}

/// Sets an event aside: because it failed, or because an earlier one about the same thing did.
pub(crate) async fn set_aside(
    writer: &mut Writer<'_>,
    subscription: &str,
    event: &EventRow,
    error: Option<&String>,
) -> Result<()> {
    let (now, position) = (writer.now(), event.position.unwrap_or(0));
    let (state, attempts, next) = match error {
        Some(_) => (parked::RETRYING, 1, now.plus(pause(1, position))),
        None => (parked::WAITING, 0, now),
    };
    let row = parked::ActiveModel {
        subscription: Set(subscription.to_owned()),
        position: Set(position),
        event_id: Set(event.id),
        kind: Set(event.kind.clone()),
        subject: Set(event.subject.clone()),
        state: Set(state.to_owned()),
        attempts: Set(attempts),
        next_try_at: Set(next),
        error: Set(error.map(|error| shortened(error)).unwrap_or_default()),
        code_version: Set(env!("CARGO_PKG_VERSION").to_owned()),
        first_failed_at: Set(now),
        ..Default::default()
    };
    writer.append::<Entity>(row).await.map(|_| ())
}

/// Returns what is to be tried now, so much of each tenant at most: first what is longest due of each,
/// so that one with very much does not keep the others waiting.
pub(crate) async fn due(store: &Store, subscriptions: &[&str], limit: u64, of_one: i64) -> Result<Vec<Due>> {
    let place = Expr::cust("ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY next_try_at, position)");
    let all = Query::select()
        .columns([Column::TenantId, Column::Subscription, Column::Subject, Column::NextTryAt, Column::Position])
        .expr_as(place, "place")
        .from(Entity)
        .and_where(Expr::col(Column::State).eq(parked::RETRYING))
        .and_where(Expr::col(Column::NextTryAt).lte(store.clock().now()))
        .and_where(Expr::col(Column::Subscription).is_in(subscriptions.iter().copied()))
        .take();
    let select = Query::select()
        .columns([Column::TenantId, Column::Subscription, Column::Subject])
        .from_subquery(all, "due")
        .and_where(Expr::col("place").lte(of_one))
        .order_by("place", Order::Asc)
        .order_by(Column::NextTryAt, Order::Asc)
        .order_by(Column::Position, Order::Asc)
        .limit(limit)
        .take();
    let system = store.system_read(Purpose::Dispatch).await?;
    let rows = system.rows(&select).await?;
    system.close().await?;
    let due = |row: &sea_orm::QueryResult| -> Result<Due, sea_orm::DbErr> {
        let (tenant, subscription) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        Ok(Due { tenant, subscription, subject: row.try_get_by_index(2)? })
    };
    rows.iter().map(|row| due(row).map_err(store::from_database)).collect()
}

/// What trying the first event of a stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retried {
    /// It was applied; the next one may be tried.
    Applied,
    /// It failed again.
    Failed,
    /// It could not be tried, which is nobody's fault; it waits a little.
    Postponed,
    /// It was not there any more, or its time has not come.
    Nothing,
}

/// Tries the first event of the stream again.
pub(crate) async fn retry(store: &Store, subscription: &Subscription, due: &Due) -> Result<Retried> {
    let Some(head) = head_across(store, due).await? else { return Ok(Retried::Nothing) };
    let found = store::tenant_events_after(store, due.tenant, head.position - 1, None, 1).await?;
    let event = found.into_iter().find(|event| event.id == head.event_id);
    let error = match &event {
        None => Error::internal("the event is no longer in the log"),
        Some(event) => match apply_again(store, subscription, due, &head, event).await {
            Ok(retried) => return Ok(retried),
            Err(error) if apply::is_away(&error) => return postpone(store, due, &head, &error).await,
            Err(error) => error,
        },
    };
    note_failure(store, due, &head, event.as_ref(), &error).await
}

async fn apply_again(
    store: &Store,
    subscription: &Subscription,
    due: &Due,
    head: &Model,
    event: &EventRow,
) -> Result<Retried> {
    let mut ctx = apply::context(due.tenant, Some(event));
    let mut writer = store.write(&mut ctx).await?;
    writer.alone(&lock(subscription.name)).await?;
    if head_of(&writer, due).await?.as_ref() != Some(head) {
        writer.roll_back().await?;
        return Ok(Retried::Nothing);
    }
    if let Err(error) = apply::run(store, subscription, &mut writer, event).await {
        let _ = writer.roll_back().await;
        return Err(error);
    }
    writer.remove::<Entity>(Column::Id.eq(head.id)).await?;
    promote(&mut writer, &due.subscription, &due.subject).await?;
    fault::point_at("consume.before_commit", subscription.name).await?;
    writer.commit(Answer::no_content()).await?;
    fault::point_at("consume.after_commit", subscription.name).await?;
    Ok(Retried::Applied)
}

/// Lets others have their turn before it; no attempt is counted.
async fn postpone(store: &Store, due: &Due, head: &Model, error: &Error) -> Result<Retried> {
    let mut ctx = apply::context(due.tenant, None);
    let mut writer = store.write(&mut ctx).await?;
    writer.alone(&lock(&due.subscription)).await?;
    if head_of(&writer, due).await?.as_ref() != Some(head) {
        writer.roll_back().await?;
        return Ok(Retried::Nothing);
    }
    tracing::debug!(
        subscription = due.subscription, tenant.id = %due.tenant, event.position = head.position, error = %error,
        "an event cannot be tried again for the moment"
    );
    let update = Entity::update_many()
        .col_expr(Column::NextTryAt, writer.now().plus(pause(1, head.position)).into())
        .filter(Column::Id.eq(head.id));
    writer.revise(update).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(Retried::Postponed)
}

/// Writes down that it failed again; after the last attempt it is parked, and people are told.
async fn note_failure(
    store: &Store,
    due: &Due,
    head: &Model,
    event: Option<&EventRow>,
    error: &Error,
) -> Result<Retried> {
    let mut ctx = apply::context(due.tenant, event);
    let mut writer = store.write(&mut ctx).await?;
    writer.alone(&lock(&due.subscription)).await?;
    if head_of(&writer, due).await?.as_ref() != Some(head) {
        writer.roll_back().await?;
        return Ok(Retried::Nothing);
    }
    let attempts = head.attempts + 1;
    let gives_up = attempts >= ATTEMPTS || event.is_none();
    tracing::warn!(
        subscription = due.subscription, tenant.id = %due.tenant, event.position = head.position, attempts,
        parked = gives_up, error = %error, "an event could not be applied again"
    );
    let update = Entity::update_many()
        .col_expr(Column::Attempts, attempts.into())
        .col_expr(Column::State, if gives_up { parked::PARKED } else { parked::RETRYING }.into())
        .col_expr(Column::NextTryAt, writer.now().plus(pause(attempts, head.position)).into())
        .col_expr(Column::Error, shortened(&error.to_string()).into())
        .col_expr(Column::CodeVersion, env!("CARGO_PKG_VERSION").into())
        .filter(Column::Id.eq(head.id));
    writer.revise(update).await?;
    // An alert about an alert that cannot be delivered would never end.
    if gives_up && head.kind != ALERT {
        let data = json!({
            "title": format!("{} is stuck", due.subscription),
            "message": format!(
                "{} about {} could not be applied after {attempts} attempts; later events about it wait. \
                 An operator decides: portico events list, then retry or skip.",
                head.kind, head.subject
            ),
            "subscription": due.subscription,
            "position": head.position,
            "dedupeKey": format!("{}/{}", due.subscription, head.position),
        });
        writer.record(Event::about(ALERT, &due.subscription, data)).await?;
    }
    writer.commit(Answer::no_content()).await?;
    Ok(Retried::Failed)
}

/// Lets the next event of the stream be tried, once the one before it is gone.
pub(crate) async fn promote(writer: &mut Writer<'_>, subscription: &str, subject: &str) -> Result<()> {
    let due = Due { tenant: writer.tenant(), subscription: subscription.to_owned(), subject: subject.to_owned() };
    let Some(next) = head_of(writer, &due).await?.filter(|next| next.state == parked::WAITING) else { return Ok(()) };
    let update = Entity::update_many()
        .col_expr(Column::State, parked::RETRYING.into())
        .col_expr(Column::NextTryAt, writer.now().into())
        .filter(Column::Id.eq(next.id));
    writer.revise(update).await.map(|_| ())
}

/// Returns the first event of the stream.
async fn head_of(writer: &Writer<'_>, due: &Due) -> Result<Option<Model>> {
    let stream = writer
        .select_with_deleted::<Entity>()
        .filter(Column::Subscription.eq(&due.subscription))
        .filter(Column::Subject.eq(&due.subject));
    stream.order_by(Column::Position, Order::Asc).lock().one().await
}

/// Returns the first event of the stream when it is to be tried now.
async fn head_across(store: &Store, due: &Due) -> Result<Option<Model>> {
    let select = Entity::find()
        .filter(Column::TenantId.eq(due.tenant))
        .filter(Column::Subscription.eq(&due.subscription))
        .filter(Column::Subject.eq(&due.subject))
        .order_by_asc(Column::Position)
        .limit(1);
    let system = store.system_read(Purpose::Dispatch).await?;
    let head = system.one(select).await?;
    system.close().await?;
    let is_due = |head: &Model| head.state == parked::RETRYING && head.next_try_at <= store.clock().now();
    Ok(head.filter(is_due))
}

/// How much is set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub retrying: u64,
    pub parked: u64,
}

/// Counts the streams that were set aside, by subscription.
pub(crate) async fn count(store: &Store) -> Result<std::collections::HashMap<String, SetAside>> {
    let select = Entity::find()
        .select_only()
        .columns([Column::Subscription, Column::State])
        .column_as(Column::Position.count(), "streams")
        .filter(Column::State.ne(parked::WAITING))
        .group_by(Column::Subscription)
        .group_by(Column::State);
    let system = store.system_read(Purpose::Dispatch).await?;
    let rows = system.rows(&sea_orm::QueryTrait::into_query(select)).await?;
    system.close().await?;
    let mut counts = std::collections::HashMap::<String, SetAside>::new();
    for row in rows {
        let read = || -> Result<(String, String, i64), sea_orm::DbErr> {
            Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?))
        };
        let (name, state, streams) = read().map_err(store::from_database)?;
        let (streams, count) = (u64::try_from(streams).unwrap_or(0), counts.entry(name).or_default());
        if state == parked::PARKED { count.parked = streams } else { count.retrying = streams }
    }
    Ok(counts)
}
