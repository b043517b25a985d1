//! Applies some events of one tenant in one transaction, with the cursor: what a subscriber changes
//! and that it did so are kept together or not at all, however many processes try at once. An event
//! that fails is set aside in the same transaction that goes past it. Not for choosing events.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kernel::{Actor, Answer, Ctx, CtxParts, Error, Kind, PermissionSet, RequestId, Result, TenantId};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Set};
use store::{EventRow, Store, Writer, fault};

use crate::park;
use crate::subscription::Subscription;
use crate::tables::{cursor, parked};

/// Some events of one tenant, in their order.
pub(crate) struct Chunk<'a> {
    pub store: &'a Store,
    pub subscription: &'a Subscription,
    pub tenant: TenantId,
    /// The generation of the mark that they were read under.
    pub generation: i64,
    /// After this the transaction ends, with what was applied so far.
    pub budget: Duration,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Applied {
    /// Everything up to here is dealt with.
    pub upto: i64,
    pub applied: u64,
    /// How many failed and were set aside.
    pub failed: u64,
    /// A replay began meanwhile: what was read means nothing.
    pub stale: bool,
}

/// Why a transaction was undone; the position is that of the event that failed, where one did.
struct Trouble {
    position: Option<i64>,
    error: Error,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self { position: None, error }
    }
}

/// Returns the name of the lock that a subscription takes in a tenant.
pub(crate) fn lock(subscription: &str) -> String {
    format!("subscription {subscription}")
}

/// Returns a context in which the product acts because of an event.
pub(crate) fn context(tenant: TenantId, event: Option<&EventRow>) -> Ctx {
    let request_id = RequestId::create();
    let cause = event.and_then(|event| RequestId::parse(&event.correlation_id));
    Ctx::new(CtxParts {
        tenant,
        actor: Actor::System,
        permissions: PermissionSet::default(),
        correlation_id: cause.unwrap_or_else(|| request_id.clone()),
        request_id,
        idempotency: None,
        reason: None,
    })
}

/// Lets the subscriber apply one event; a panic or no end is a failure like any other.
pub(crate) async fn run(
    store: &Store,
    subscription: &Subscription,
    writer: &mut Writer<'_>,
    event: &EventRow,
) -> Result<()> {
    writer.follow(event);
    // The transaction is taken away after this; whoever waits for something else would never learn of it.
    let limit = Duration::from_millis(store.config().write_hold_limit_ms.saturating_add(500));
    let apply = AssertUnwindSafe(async { subscription.subscriber().apply(writer, event).await }).catch_unwind();
    match tokio::time::timeout(limit, apply).await {
        Ok(Ok(applied)) => applied,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
            Err(Error::internal(format!("the subscriber panicked: {text}")))
        }
        Err(_) => Err(Error::unavailable(TIMED_OUT, "this took too long and was undone; try again")),
    }
}

const TIMED_OUT: &str = "store.transaction_timeout";

/// Says whether the failure is nobody's fault: the same work may succeed later as it is.
pub(crate) fn is_away(error: &Error) -> bool {
    error.kind() == Kind::Unavailable && error.code() != TIMED_OUT
}

impl Chunk<'_> {
    /// Deals with the events, or with the first of them. An error means that nothing could be done now.
    pub(crate) async fn deal(&self, events: &[EventRow]) -> Result<Applied> {
        let (mut blamed, mut size) = (HashMap::new(), events.len());
        loop {
            let Trouble { position, error } = match self.attempt(&events[..size], &blamed).await {
                Ok(applied) => return Ok(applied),
                Err(trouble) => trouble,
            };
            if is_away(&error) {
                return Err(error);
            }
            let (alone, timed_out) = (size == 1, error.code() == TIMED_OUT);
            let whose = match position {
                // What took too long may have been those before it.
                Some(position) if alone || !timed_out => Some(position),
                _ if alone => events[0].position,
                _ => None,
            };
            match whose {
                Some(position) if blamed.contains_key(&position) => return Err(error),
                Some(position) => {
                    tracing::warn!(
                        subscription = self.subscription.name, tenant.id = %self.tenant, event.position = position,
                        error = %error, "an event could not be applied"
                    );
                    blamed.insert(position, error.to_string());
                    // The rest has its turn later: one tenant's failures do not hold up others.
                    size = events.iter().take_while(|event| event.position <= Some(position)).count().max(1);
                }
                // One at a time, to learn whose fault it is.
                None => size = 1,
            }
        }
    }

    async fn attempt(&self, events: &[EventRow], blamed: &HashMap<i64, String>) -> Result<Applied, Trouble> {
        let name = self.subscription.name;
        let mut ctx = context(self.tenant, events.first());
        let mut writer = self.store.write(&mut ctx).await?;
        writer.alone(&lock(name)).await?;
        let found = writer.select_with_deleted::<cursor::Entity>().filter(cursor::Column::Subscription.eq(name));
        let found = found.lock().one().await?;
        let last = events.last().and_then(|event| event.position).unwrap_or(0);
        if found.as_ref().is_some_and(|found| found.generation > self.generation) {
            writer.roll_back().await?;
            return Ok(Applied { stale: true, ..Applied::default() });
        }
        let passed = found.as_ref().map_or(0, |found| found.position);
        let fresh: Vec<&EventRow> = events.iter().filter(|event| event.position > Some(passed)).collect();
        if fresh.is_empty() {
            writer.roll_back().await?;
            return Ok(Applied { upto: last, ..Applied::default() });
        }
        let mut waiting = waiting(&writer, name, &fresh).await?;
        let (began, mut done) = (Instant::now(), Applied { upto: passed, ..Applied::default() });
        for event in fresh {
            let position = event.position.unwrap_or(0);
            if done.upto > passed && began.elapsed() > self.budget {
                break;
            }
            if waiting.contains(event.subject.as_str()) {
                park::set_aside(&mut writer, name, event, None).await?;
            } else if let Some(error) = blamed.get(&position) {
                park::set_aside(&mut writer, name, event, Some(error)).await?;
                waiting.insert(event.subject.clone());
                done.failed += 1;
            } else if let Err(error) = run(self.store, self.subscription, &mut writer, event).await {
                let _ = writer.roll_back().await;
                return Err(Trouble { position: Some(position), error });
            } else {
                done.applied += 1;
            }
            done.upto = position;
        }
        self.move_cursor(&mut writer, found.is_some(), done.upto).await?;
        fault::point_at("consume.before_commit", name).await?;
        writer.commit(Answer::no_content()).await?;
        fault::point_at("consume.after_commit", name).await?;
        Ok(done)
    }

    async fn move_cursor(&self, writer: &mut Writer<'_>, there: bool, position: i64) -> Result<()> {
        let name = self.subscription.name;
        if there {
            let update = cursor::Entity::update_many()
                .col_expr(cursor::Column::Position, position.into())
                .col_expr(cursor::Column::Generation, self.generation.into())
                .filter(cursor::Column::Subscription.eq(name));
            return writer.revise(update).await.map(|_| ());
        }
        let row = cursor::ActiveModel {
            subscription: Set(name.to_owned()),
            position: Set(position),
            generation: Set(self.generation),
            ..Default::default()
        };
        writer.append::<cursor::Entity>(row).await.map(|_| ())
    }
}

/// Returns which of the things that the events are about have earlier events set aside.
async fn waiting(writer: &Writer<'_>, name: &str, events: &[&EventRow]) -> Result<HashSet<String>> {
    let subjects: HashSet<&str> = events.iter().map(|event| event.subject.as_str()).collect();
    let rows = writer
        .select_with_deleted::<parked::Entity>()
        .filter(parked::Column::Subscription.eq(name))
        .filter(parked::Column::State.ne(parked::WAITING))
        .filter(parked::Column::Subject.is_in(subjects));
    Ok(rows.all().await?.into_iter().map(|row| row.subject).collect())
}
