//! Wakes the readers of other processes through Redis, so that they need not wait for their next look
//! at the database. A ring says only that something is new: when Redis is away or loses one, the
//! looking finds it. Not for carrying events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use kernel::{Error, RequestId, Result};
use store::Store;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::redis_streams::open;

const LOG: &str = "log";
const TASKS: &str = "tasks";
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long Redis may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the connection is tried when nothing comes.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

type Callback = Box<dyn Fn() + Send + Sync>;

/// The doorbell of one process. Cloning it is cheap; it stops ringing when the last clone goes.
#[derive(Clone)]
pub struct Doorbell {
    shared: Arc<Shared>,
    _ringing: Arc<Ringing>,
}

struct Shared {
    client: redis::Client,
    channel: String,
    process: String,
    tasks: Notify,
    on_tasks: Mutex<Vec<Callback>>,
    connected: watch::Sender<bool>,
}

struct Ringing(AbortHandle);

impl Drop for Ringing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Doorbell {
    /// Starts to ring for this store and to listen to others; Redis may be away for as long as it likes.
    pub fn connect(url: &str, namespace: &str, store: &Store) -> Result<Self> {
        let shared = Arc::new(Shared {
            client: open(url)?,
            channel: format!("{namespace}:doorbell"),
            process: RequestId::create().as_str().to_owned(),
            tasks: Notify::new(),
            on_tasks: Mutex::default(),
            connected: watch::Sender::new(false),
        });
        let task = tokio::spawn(stay_connected(shared.clone(), store.clone()));
        Ok(Self { shared, _ringing: Arc::new(Ringing(task.abort_handle())) })
    }

    /// Calls this whenever another process has put tasks in the queue; it must be quick.
    pub fn on_tasks(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.shared.on_tasks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(callback));
    }

    /// Tells the other processes of new tasks, soon; never waits and never fails.
    pub fn ring_tasks(&self) {
        self.shared.tasks.notify_one();
    }

    /// Says whether Redis answers; changes when that changes.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }
}

impl Shared {
    fn tell_of_tasks(&self) {
        for callback in self.on_tasks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            callback();
        }
    }
}

async fn stay_connected(shared: Arc<Shared>, store: Store) {
    let mut failures = 0u32;
    loop {
        let ended = ring_and_listen(&shared, &store).await;
        // Whoever was connected starts over with the shortest pause.
        failures = if shared.connected.send_replace(false) { 0 } else { failures + 1 };
        if failures < 2 {
            tracing::warn!(error = %ended, "other processes are not woken through Redis; they look by themselves");
        }
        tokio::time::sleep(SHORTEST_PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE)).await;
    }
}

/// Rings and listens until the connection fails; says why it did.
async fn ring_and_listen(shared: &Shared, store: &Store) -> Error {
    match converse(shared, store).await {
        Ok(()) => Error::internal("the connection has ended"),
        Err(error) => error,
    }
}

async fn converse(shared: &Shared, store: &Store) -> Result<()> {
    let client = &shared.client;
    let mut rung = store.readable();
    let (mut ears, mut mouth) = in_time(async {
        let mut ears = client.get_async_pubsub().await?;
        ears.subscribe(&shared.channel).await?;
        Ok((ears, client.get_multiplexed_async_connection().await?))
    })
    .await?;
    // What was rung while nobody listened.
    let mut ledger = Ledger { seen: *rung.borrow_and_update(), foreign: 1 };
    store.ring();
    shared.tell_of_tasks();
    shared.connected.send_replace(true);
    let mut heard = ears.on_message();
    loop {
        let word = tokio::select! {
            message = heard.next() => {
                let Some(message) = message else { return Ok(()) };
                let text: String = message.get_payload().unwrap_or_default();
                match text.split_once(' ') {
                    Some((from, _)) if from == shared.process => {}
                    Some((_, LOG)) => {
                        ledger.foreign += 1;
                        store.ring();
                    }
                    Some((_, TASKS)) => shared.tell_of_tasks(),
                    _ => {}
                }
                continue;
            }
            changed = rung.changed() => {
                if changed.is_err() { return Ok(()) }
                if !ledger.is_news(*rung.borrow_and_update()) { continue }
                LOG
            }
            () = shared.tasks.notified() => TASKS,
            () = tokio::time::sleep(SIGN_OF_LIFE) => {
                in_time(redis::cmd("PING").query_async::<()>(&mut mouth)).await?;
                continue;
            }
        };
        let message = format!("{} {word}", shared.process);
        in_time(redis::cmd("PUBLISH").arg(&shared.channel).arg(message).query_async::<()>(&mut mouth)).await?;
    }
}

/// Tells this process's own rings from those that it passes on: only its own go out, or two processes
/// would ring each other for ever.
struct Ledger {
    seen: u64,
    foreign: u64,
}

impl Ledger {
    fn is_news(&mut self, count: u64) -> bool {
        let rings = count.wrapping_sub(self.seen);
        let own = rings > self.foreign;
        (self.seen, self.foreign) = (count, 0);
        own
    }
}

async fn in_time<T>(work: impl Future<Output = redis::RedisResult<T>>) -> Result<T> {
    let away = || Error::unavailable("events.redis_unavailable", "Redis does not answer; try again shortly");
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| away().source_error(error)),
        Err(_) => Err(away()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_rings_are_news() {
        let mut ledger = Ledger { seen: 5, foreign: 1 };
        assert!(!ledger.is_news(6), "passed on");
        assert!(ledger.is_news(7), "its own");
        ledger.foreign = 2;
        assert!(ledger.is_news(10), "two passed on and one of its own");
        ledger.foreign = 2;
        assert!(!ledger.is_news(12));
    }
}
