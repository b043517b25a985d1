//! What an operator does with subscriptions: see where they stand, try again what is parked, drop one
//! event. Works on the data, whether or not a dispatcher runs; one that runs notices within a moment.
//! Going back in the log is in `replay`, forgetting one in `forget`. Not for the way in: routes and
//! command line are the binary's.

use std::collections::HashMap;

use kernel::{Answer, Error, Result, TenantId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use serde_json::json;
use store::{Event, Purpose, Store, System};

use crate::apply::{context, lock};
use crate::subscription::Subscription;
use crate::tables::{mark, parked};
use crate::{marks, park};

/// The event that an operator's skip leaves behind.
pub const SKIPPED: &str = "events.subscription.skipped";
/// How many streams are shown of each subscription.
const SHOWN: u64 = 100;

/// Where a subscription or a sink stands.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name; that of a sink begins with `sink:`.
    pub name: String,
    /// Everything up to here was offered to every tenant.
    pub position: i64,
    /// How many positions of the log come after that.
    pub lag: u64,
    /// The streams that were set aside, oldest first; of very many only the first.
    pub streams: Vec<Stream>,
}

/// Events about one thing that were set aside.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Whose events they are.
    pub tenant: TenantId,
    /// What they are about.
    pub subject: String,
    /// The position of the first, which keeps the others waiting.
    pub position: i64,
    /// Its type.
    pub kind: String,
    /// `retrying` by itself, or `parked` until an operator decides.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Why it failed.
    pub error: String,
    /// The version that failed.
    pub code_version: String,
    /// When it first failed.
    pub first_failed_at: Timestamp,
    /// When it is tried again, where it is.
    pub next_try_at: Timestamp,
    /// How many events wait behind it.
    pub waiting: u64,
}

/// Returns where all subscriptions and sinks stand; `known` are those of this version.
pub async fn list(store: &Store, known: &[Subscription]) -> Result<Vec<Listed>> {
    let last = store::log_state(store).await?.last;
    let mut marks = marks::all(store).await?;
    marks.sort_by(|left, right| left.name.cmp(&right.name));
    let mut listed = Vec::new();
    for mark in marks {
        let lag = u64::try_from(last - mark.position).unwrap_or(0);
        let streams = streams(store, &mark.name).await?;
        listed.push(Listed { name: mark.name, position: mark.position, lag, streams });
    }
    for subscription in known {
        // Those that have not run yet.
        if !listed.iter().any(|listed| listed.name == subscription.name) {
            let (name, lag) = (subscription.name.to_owned(), u64::try_from(last).unwrap_or(0));
            listed.push(Listed { name, position: 0, lag, streams: Vec::new() });
        }
    }
    Ok(listed)
}

/// What the names of sinks begin with.
pub(crate) const SINK: &str = "sink:";

async fn streams(store: &Store, subscription: &str) -> Result<Vec<Stream>> {
    let system = store.system_read(Purpose::Dispatch).await?;
    let heads = parked::Entity::find()
        .filter(parked::Column::Subscription.eq(subscription))
        .filter(parked::Column::State.ne(parked::WAITING))
        .order_by_asc(parked::Column::Position)
        .limit(SHOWN);
    let heads = system.all(heads).await?;
    let behind = parked::Entity::find()
        .select_only()
        .columns([parked::Column::TenantId, parked::Column::Subject])
        .column_as(parked::Column::Position.count(), "events")
        .filter(parked::Column::Subscription.eq(subscription))
        .filter(parked::Column::State.eq(parked::WAITING))
        .group_by(parked::Column::TenantId)
        .group_by(parked::Column::Subject);
    let rows = if heads.is_empty() { Vec::new() } else { system.rows(&behind.into_query()).await? };
    system.close().await?;
    let mut waiting = HashMap::<(TenantId, String), i64>::new();
    for row in rows {
        let read = || -> Result<_, sea_orm::DbErr> {
            Ok(((row.try_get_by_index(0)?, row.try_get_by_index(1)?), row.try_get_by_index(2)?))
        };
        let (stream, events) = read().map_err(store::from_database)?;
        waiting.insert(stream, events);
    }
    let stream = |head: parked::Model| {
        let key = (head.tenant_id, head.subject);
        let behind = waiting.get(&key).copied().unwrap_or(0);
        Stream {
            tenant: key.0,
            subject: key.1,
            position: head.position,
            kind: head.kind,
            state: head.state,
            attempts: head.attempts,
            error: head.error,
            code_version: head.code_version,
            first_failed_at: head.first_failed_at,
            next_try_at: head.next_try_at,
            waiting: u64::try_from(behind).unwrap_or(0),
        }
    };
    Ok(heads.into_iter().map(stream).collect())
}

/// Lets the streams that were set aside be tried again now, with all attempts before them: all of the
/// subscription, of one tenant, or about one thing. Says how many there were.
pub async fn retry(store: &Store, subscription: &str, tenant: Option<TenantId>, subject: Option<&str>) -> Result<u64> {
    let system = store.system(Purpose::Dispatch).await?;
    if mark(&system, subscription).await?.is_none() {
        return Err(unknown(subscription));
    }
    let mut update = Query::update()
        .table(parked::Entity)
        .value(parked::Column::State, parked::RETRYING)
        .value(parked::Column::Attempts, 0i64)
        .value(parked::Column::NextTryAt, system.now())
        .and_where(Expr::col(parked::Column::Subscription).eq(subscription))
        .and_where(Expr::col(parked::Column::State).ne(parked::WAITING))
        .take();
    if let Some(tenant) = tenant {
        update.and_where(Expr::col(parked::Column::TenantId).eq(tenant));
    }
    if let Some(subject) = subject {
        update.and_where(Expr::col(parked::Column::Subject).eq(subject));
    }
    let streams = system.execute(&update).await?;
    system.commit().await?;
    store.ring();
    Ok(streams)
}

/// Drops one event that was set aside, so that those behind it come to their turn; the tenant's log says
/// that it happened, and why.
pub async fn skip(store: &Store, subscription: &str, position: i64, reason: &str) -> Result<()> {
    let find = || {
        let select = parked::Entity::find().filter(parked::Column::Subscription.eq(subscription));
        select.filter(parked::Column::Position.eq(position))
    };
    let system = store.system_read(Purpose::Dispatch).await?;
    let found = system.one(find()).await?;
    system.close().await?;
    let nothing = || {
        let message = format!("{subscription} has set no event aside at position {position}: see what is listed");
        Error::not_found("events.nothing_set_aside", message)
    };
    let found = found.ok_or_else(nothing)?;
    let mut ctx = context(found.tenant_id, None);
    let mut writer = store.write(&mut ctx).await?;
    writer.alone(&lock(subscription)).await?;
    if writer.remove::<parked::Entity>(parked::Column::Id.eq(found.id)).await? == 0 {
        writer.roll_back().await?;
        return Err(nothing());
    }
    park::promote(&mut writer, subscription, &found.subject).await?;
    let data = json!({
        "subscription": subscription,
        "position": position,
        "event": found.event_id,
        "type": found.kind,
        "subject": found.subject,
        "reason": reason,
    });
    writer.record(Event::about(SKIPPED, subscription, data)).await?;
    writer.commit(Answer::no_content()).await?;
    store.ring();
    Ok(())
}

/// Returns the mark of a subscription or sink.
pub(crate) async fn mark(system: &System, name: &str) -> Result<Option<mark::Model>> {
    system.one(mark::Entity::find().filter(mark::Column::Name.eq(name))).await
}

pub(crate) fn unknown(name: &str) -> Error {
    Error::not_found(
        "events.subscription_unknown",
        format!("there is no subscription {name}: see those that are listed"),
    )
}
