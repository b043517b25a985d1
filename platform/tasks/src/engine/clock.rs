//! Starts what is scheduled: one process at a time, moments that were missed once. Not for tasks that
//! wait for a moment, which are in the queue.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use futures_util::FutureExt as _;
use kernel::{Error, Result, Timestamp};
use sea_orm::Value;
use store::{Purpose, from_database};
use tokio::task::JoinSet;

use super::Inner;
use super::attempt::panicked;
use crate::queries::Sql;
use crate::schedule::Schedule;

/// How long to wait after a schedule failed.
const AGAIN: Duration = Duration::from_secs(60);
/// The longest time between two looks: clocks are set, and other processes do the work.
const LONGEST: Duration = Duration::from_secs(30);

/// A schedule and when it is due.
pub(crate) struct Planned {
    schedule: Schedule,
    cron: Cron,
}

/// Reads the moments of schedules.
pub(super) fn plan(schedules: Vec<Schedule>) -> Result<Vec<Planned>> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let planned = schedules.into_iter().map(|schedule| {
        let cron = parser.parse(schedule.cron).map_err(|error| {
            Error::internal(format!("{} is not five fields of cron: {}", schedule.name, schedule.cron))
                .source_error(error)
        })?;
        Ok(Planned { schedule, cron })
    });
    planned.collect()
}

impl Planned {
    /// Returns the first moment after this one.
    fn after(&self, moment: Timestamp) -> Result<Timestamp> {
        let wrong = |error: String| Error::internal(format!("no next moment of {}: {error}", self.schedule.name));
        let start = jiff::Timestamp::from_microsecond(moment.0).map_err(|error| wrong(error.to_string()))?;
        let next = self.cron.find_next_occurrence(&start.to_zoned(jiff::tz::TimeZone::UTC), false);
        let next = next.map_err(|error| wrong(error.to_string()))?;
        Ok(Timestamp(next.timestamp().as_microsecond()))
    }
}

/// The schedules of one process.
pub(super) struct Clockwork {
    inner: Arc<Inner>,
    hands: JoinSet<()>,
}

impl Clockwork {
    pub fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: inner.clone(), hands: JoinSet::new() }
    }

    /// Starts a watch over each schedule, so that a slow one delays no other.
    pub fn start(&mut self) {
        for place in 0..self.inner.schedules.len() {
            let inner = self.inner.clone();
            self.hands.spawn(async move {
                loop {
                    let planned = &inner.schedules[place];
                    let pause = match turn(&inner, planned).await {
                        Ok(turn) => super::pump::until(Some(turn.next), inner.store.clock().now()).min(LONGEST),
                        Err(error) => {
                            let name = planned.schedule.name;
                            tracing::warn!(schedule.name = name, error = %error, "a schedule could not be looked at");
                            LONGEST
                        }
                    };
                    tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
                }
            });
        }
    }

    /// Does what is due now, and says how much that was.
    pub async fn run_due(&self) -> Result<usize> {
        let mut ran = 0;
        for planned in &self.inner.schedules {
            ran += usize::from(turn(&self.inner, planned).await?.ran);
        }
        Ok(ran)
    }
}

struct Turn {
    ran: bool,
    next: Timestamp,
}

/// What is stored of a schedule.
struct Stored {
    cron: String,
    next_at: Timestamp,
    fence: i64,
    lease_until: Option<Timestamp>,
}

async fn stored(inner: &Inner, name: &str) -> Result<Option<Stored>> {
    let system = inner.store.system_read(Purpose::Tasks).await?;
    let text = "SELECT cron, next_at, fence, lease_until FROM task_schedule WHERE name = ?";
    let rows = system.rows(&Sql::new(text, [name.into()])).await?;
    system.close().await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let read = || {
        Ok(Stored {
            cron: row.try_get_by_index(0)?,
            next_at: row.try_get_by_index(1)?,
            fence: row.try_get_by_index(2)?,
            lease_until: row.try_get_by_index(3)?,
        })
    };
    read().map(Some).map_err(from_database)
}

/// Changes a schedule's row, and says whether it was there as expected.
async fn write(inner: &Inner, text: &str, values: impl IntoIterator<Item = Value>) -> Result<bool> {
    let system = inner.store.system(Purpose::Tasks).await?;
    let changed = system.execute(&Sql::new(text, values)).await?;
    system.commit().await?;
    Ok(changed == 1)
}

async fn turn(inner: &Inner, planned: &Planned) -> Result<Turn> {
    let (name, cron, now) = (planned.schedule.name, planned.schedule.cron, inner.store.clock().now());
    let next = planned.after(now)?;
    let Some(known) = stored(inner, name).await? else {
        let insert =
            "INSERT INTO task_schedule (name, cron, next_at, fence) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING";
        write(inner, insert, [name.into(), cron.into(), next.into()]).await?;
        return Ok(Turn { ran: false, next });
    };
    if known.cron != cron {
        let moved = "UPDATE task_schedule SET cron = ?, next_at = ? WHERE name = ? AND cron = ?";
        write(inner, moved, [cron.into(), next.into(), name.into(), known.cron.into()]).await?;
        return Ok(Turn { ran: false, next });
    }
    let waits = known.lease_until.filter(|until| *until > now).map_or(known.next_at, |until| until.max(known.next_at));
    if waits > now {
        return Ok(Turn { ran: false, next: waits });
    }
    let take = "UPDATE task_schedule SET fence = fence + 1, lease_until = ? WHERE name = ? AND fence = ?";
    let until = now.plus(inner.config.lease());
    if !write(inner, take, [until.into(), name.into(), known.fence.into()]).await? {
        return Ok(Turn { ran: false, next: until });
    }
    let fence = known.fence + 1;
    let worked = run(inner, planned, fence).await;
    let now = inner.store.clock().now();
    // What was missed meanwhile is not made up for, moment by moment.
    let mut next = planned.after(now)?;
    if let Err(error) = worked {
        tracing::error!(schedule.name = name, error = %error, "a schedule failed");
        next = next.min(now.plus(AGAIN));
    }
    let end = "UPDATE task_schedule SET next_at = ?, lease_until = NULL, last_at = ? WHERE name = ? AND fence = ?";
    write(inner, end, [next.into(), now.into(), name.into(), fence.into()]).await?;
    Ok(Turn { ran: true, next })
}

/// Does the work, and keeps the lease meanwhile.
async fn run(inner: &Inner, planned: &Planned, fence: i64) -> Result<()> {
    let name = planned.schedule.name;
    let work = AssertUnwindSafe(planned.schedule.scheduled.due(&inner.store)).catch_unwind();
    let keep = async {
        loop {
            tokio::time::sleep(inner.config.lease() / 3).await;
            let until = inner.store.clock().now().plus(inner.config.lease());
            let renew = "UPDATE task_schedule SET lease_until = ? WHERE name = ? AND fence = ?";
            if let Err(error) = write(inner, renew, [until.into(), name.into(), fence.into()]).await {
                tracing::warn!(schedule.name = name, error = %error, "the lease of a schedule could not be renewed");
            }
        }
    };
    tokio::select! {
        worked = work => worked.unwrap_or_else(|panic| Err(panicked(name, panic.as_ref()))),
        () = keep => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::BoxFuture;
    use store::Store;

    struct Nothing;
    impl crate::Scheduled for Nothing {
        fn due<'a>(&'a self, _: &'a Store) -> BoxFuture<'a, Result<()>> {
            async { Ok(()) }.boxed()
        }
    }

    fn next(cron: &'static str, after: &str) -> String {
        let planned = plan(vec![Schedule::new("test", cron, Nothing)]).expect("cron");
        let after = Timestamp::parse(after).expect("a time");
        planned[0].after(after).expect("a moment").to_string()
    }

    #[test]
    fn the_next_moment_lies_after_the_present_one_and_in_utc() {
        assert_eq!(next("*/15 * * * *", "2026-11-21T08:00:00Z"), "2026-11-21T08:15:00.000000Z");
        assert_eq!(next("0 3 * * *", "2026-12-31T03:00:00Z"), "2027-01-01T03:00:00.000000Z");
        assert_eq!(next("30 6 * * 1", "2026-11-21T08:00:00Z"), "2026-11-23T06:30:00.000000Z");
        assert_eq!(next("0 0 29 2 *", "2026-11-21T08:00:00Z"), "2028-02-29T00:00:00.000000Z");
    }

    #[test]
    fn what_is_not_five_fields_is_refused() {
        for wrong in ["", "* * * *", "* * * * * *", "61 * * * *", "often"] {
            assert!(plan(vec![Schedule::new("test", wrong, Nothing)]).is_err(), "{wrong}");
        }
    }
}
