//! Carries events out of the installation: in order, at least once, each with its position and id so
//! that whoever receives them can tell. How far a sink has come is in the database, with the marks of
//! subscriptions. Not for work that changes data: that is a subscription.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Result, Timestamp};
use store::{Engine, EventRow};
use tokio::sync::watch;

use crate::dispatcher::{Inner, stopped};
use crate::marks;
use crate::view::View;

/// How many events are handed over at a time.
const BATCH: u64 = 200;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a sink with nothing to do sleeps when nobody wakes it.
const IDLE: Duration = Duration::from_secs(5);

/// Where events go.
pub trait Sink: Send + Sync + 'static {
    /// Hands some events over, in their order. After an error the same ones come again.
    fn deliver<'a>(&'a self, events: &'a [EventRow]) -> BoxFuture<'a, Result<()>>;
}

/// A sink and the name that its position is kept under.
#[derive(Clone)]
pub struct NamedSink {
    name: &'static str,
    sink: Arc<dyn Sink>,
}

impl NamedSink {
    /// Returns a sink of this name, unique in the installation.
    pub fn new(name: &'static str, sink: impl Sink) -> Self {
        Self { name, sink: Arc::new(sink) }
    }

    /// Returns what operators call it: `sink:NAME`.
    pub fn mark(&self) -> String {
        format!("sink:{}", self.name)
    }
}

/// Hands over what is new; says how many events that were.
async fn hand_over(inner: &Inner, place: usize) -> Result<u64> {
    let (sink, counts) = (&inner.sinks[place], inner.sink_counts(place));
    let name = sink.mark();
    let last = store::log_state(&inner.store).await?.last;
    let mark = marks::load(&inner.store, &name, 0).await?;
    counts.position.store(mark.position, Ordering::Relaxed);
    if mark.position >= last {
        return Ok(0);
    }
    let events = store::events_after(&inner.store, mark.position, None, BATCH).await?;
    if !events.is_empty() {
        let handed = sink.sink.deliver(&events).await;
        handed.inspect_err(|_| counts.add(0, 1))?;
    }
    let full = events.len() as u64 == BATCH;
    let end = events.last().and_then(|event| event.position).unwrap_or(last);
    let position = if full { end } else { end.max(last) };
    // When a replay began meanwhile, the mark stays where that one put it.
    marks::advance(&inner.store, &name, mark.generation, position).await?;
    counts.position.store(position, Ordering::Relaxed);
    counts.add(events.len() as u64, 0);
    Ok(events.len() as u64)
}

/// Hands over all there is; says how many events that were.
pub(crate) async fn until_idle(inner: &Inner, place: usize) -> Result<u64> {
    let mut total = 0;
    loop {
        match hand_over(inner, place).await? {
            0 => return Ok(total),
            handed => total += handed,
        }
    }
}

/// Works until it is told to stop.
pub(crate) async fn run(
    inner: Arc<Inner>,
    place: usize,
    mut views: watch::Receiver<View>,
    mut stopping: watch::Receiver<bool>,
) {
    let (name, mut failures, mut lease) = (inner.sinks[place].mark(), 0u32, Timestamp(0));
    while !*stopping.borrow() {
        let view = views.borrow_and_update().clone();
        let round = async {
            let mark = view.marks.get(&name);
            if mark.is_some_and(|mark| mark.position >= view.last) || !may_work(&inner, &name, &mut lease).await? {
                return Ok(IDLE);
            }
            Ok(if hand_over(&inner, place).await? == BATCH { Duration::ZERO } else { IDLE })
        };
        // A delivery may hang; stopping does not wait for it.
        let wait: Result<Duration> = tokio::select! {
            () = stopped(&mut stopping) => return,
            wait = round => wait,
        };
        let wait = match wait {
            Ok(wait) => {
                failures = 0;
                wait
            }
            Err(error) => {
                tracing::warn!(sink = name, error = %error, "events wait to be handed over");
                failures += 1;
                SHORTEST_PAUSE.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE)
            }
        };
        tokio::select! {
            () = stopped(&mut stopping) => return,
            changed = views.changed(), if failures == 0 && !wait.is_zero() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One process hands over at a time, so that the order is kept where nothing fails.
async fn may_work(inner: &Inner, name: &str, lease: &mut Timestamp) -> Result<bool> {
    let now = inner.store.clock().now();
    if inner.store.engine() == Engine::Sqlite || *lease > now.plus(marks::LEASE / 2) {
        return Ok(true);
    }
    marks::load(&inner.store, name, 0).await?;
    let until = marks::claim(&inner.store, name, &inner.process, false).await?;
    *lease = until.unwrap_or(Timestamp(0));
    Ok(until.is_some())
}
