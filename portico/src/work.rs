//! What a process works on beside requests: numbering events, handing them to subscriptions, tasks
//! and schedules, and removing what is old. Not for what any of it does.

use std::time::Duration;

use events::{Dispatcher, Doorbell, NamedSink, RedisStreams};
use kernel::Result;
use service::Service;
use store::{Engine, Store};
use tokio::task::JoinHandle;

use crate::config::Config;

const IDEMPOTENCY_LIFETIME: Duration = Duration::from_secs(24 * 3600);
const TASK_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const HOUSEKEEPING_PAUSE: Duration = Duration::from_secs(600);
/// How often unnumbered events are looked for when nothing is committed here: other processes may
/// have died before they numbered theirs.
const RELAY_PAUSE: Duration = Duration::from_millis(100);

const REDIS: &str = "redis";

fn has_redis_sink(config: &Config) -> bool {
    !config.redis.url.is_empty() && config.redis.stream_events > 0
}

/// Returns what operators call the sinks that are configured.
pub(crate) fn sinks(config: &Config) -> Vec<String> {
    if has_redis_sink(config) { vec![format!("sink:{REDIS}")] } else { Vec::new() }
}

/// The work of a process, under way.
pub(crate) struct Work {
    dispatcher: events::Running,
    engine: tasks::Running,
    loops: Vec<JoinHandle<()>>,
    /// Held, since dropping it takes it off the wall.
    doorbell: Option<Doorbell>,
    /// Counts what subscriptions do.
    counts: Dispatcher,
}

impl Work {
    /// Starts the work of these services.
    pub(crate) fn start(config: &Config, store: &Store, services: &[&Service]) -> Result<Self> {
        let subscriptions = services.iter().flat_map(|service| service.subscriptions.iter().cloned()).collect();
        let jobs = services.iter().flat_map(|service| service.jobs.iter().cloned()).collect();
        let schedules = services.iter().flat_map(|service| service.schedules.iter().cloned()).collect();
        let sagas = services.iter().flat_map(|service| service.sagas.iter().cloned()).collect();
        let engine = tasks::Engine::new(store.clone(), jobs, schedules, sagas, config.tasks.clone())?;
        let (redis, mut sinks) = (&config.redis, Vec::new());
        if has_redis_sink(config) {
            let streams = RedisStreams::new(&redis.url, &redis.namespace, redis.stream_events)?;
            sinks.push(NamedSink::new(REDIS, streams));
        }
        let doorbell = match redis.url.as_str() {
            "" => None,
            url => Some(ring(Doorbell::connect(url, &redis.namespace, store)?, store, &engine)),
        };
        let dispatcher = Dispatcher::with_sinks(store.clone(), subscriptions, sinks);
        let mut loops = vec![housekeeping(store, services)];
        if store.engine() == Engine::Postgres {
            loops.push(relay(store));
        }
        Ok(Self { dispatcher: dispatcher.clone().start(), counts: dispatcher, engine: engine.start(), doorbell, loops })
    }

    /// Returns the dispatcher, for what it counts.
    pub(crate) fn dispatcher(&self) -> Dispatcher {
        self.counts.clone()
    }

    /// Ends it: what is under way is done or left to somebody else.
    pub(crate) async fn stop(self) {
        self.dispatcher.stop().await;
        self.engine.stop().await;
        drop(self.doorbell);
        self.loops.iter().for_each(JoinHandle::abort);
    }
}

/// Lets the doorbell ring for tasks in both directions.
fn ring(doorbell: Doorbell, store: &Store, engine: &tasks::Engine) -> Doorbell {
    let (engine, bell) = (engine.clone(), doorbell.clone());
    doorbell.on_tasks(move || engine.ring());
    store.listen(move |events| {
        if events.iter().any(|event| event.kind == tasks::QUEUED) {
            bell.ring_tasks();
        }
    });
    doorbell
}

fn relay(store: &Store) -> JoinHandle<()> {
    let store = store.clone();
    tokio::spawn(async move {
        let mut committed = store.committed();
        loop {
            committed.borrow_and_update();
            if let Err(error) = store::assign_positions(&store).await {
                tracing::warn!(error = %error, "events wait for their positions");
                tokio::time::sleep(RELAY_PAUSE).await;
            }
            let _ = tokio::time::timeout(RELAY_PAUSE, committed.changed()).await;
        }
    })
}

fn housekeeping(store: &Store, services: &[&Service]) -> JoinHandle<()> {
    let (store, clock) = (store.clone(), store.clock().clone());
    let kept: Vec<(&'static str, u32)> = services
        .iter()
        .flat_map(|service| service.events.iter().filter_map(|kind| Some((kind.name, kind.retention_days?))))
        .collect();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(HOUSEKEEPING_PAUSE).await;
            let before = |age| clock.now().minus(age);
            if let Err(error) = store::purge_idempotency_keys(&store, before(IDEMPOTENCY_LIFETIME)).await {
                tracing::warn!(error = %error, "old idempotency keys were not removed");
            }
            if let Err(error) = tasks::remove_finished(&store, before(TASK_LIFETIME)).await {
                tracing::warn!(error = %error, "finished tasks were not removed");
            }
            if let Err(error) = events::remove_expired(&store, &kept).await {
                tracing::warn!(error = %error, "events whose time is up were not removed");
            }
        }
    })
}
