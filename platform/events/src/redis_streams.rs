//! Hands events to a Redis stream, as CloudEvents documents. The stream may be trimmed, flushed or
//! lost: the log is the truth, and an operator can have events handed over again. Not for delivery
//! inside the installation.

use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Error, Result};
use redis::aio::MultiplexedConnection;
use store::EventRow;
use tokio::sync::Mutex;

use crate::cloud_event::CloudEvent;
use crate::sink::Sink;

/// How long Redis may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Redis stream that events are added to, each with the fields `position`, `id`, `type`, `tenant` and
/// `event`. After a failure some come twice: whoever reads drops a position it has seen.
pub struct RedisStreams {
    client: redis::Client,
    stream: String,
    keep: u64,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisStreams {
    /// Returns the stream `{namespace}:events` of a Redis server; it keeps about so many entries.
    pub fn new(url: &str, namespace: &str, keep: u64) -> Result<Self> {
        let client = open(url)?;
        Ok(Self { client, stream: format!("{namespace}:events"), keep, connection: Mutex::new(None) })
    }

    async fn add(&self, events: &[EventRow]) -> Result<(), redis::RedisError> {
        let mut held = self.connection.lock().await;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.client.get_multiplexed_async_connection().await?,
        };
        let mut batch = redis::pipe();
        for event in events {
            let document = CloudEvent::of(event).json();
            let add = batch.cmd("XADD").arg(&self.stream).arg("MAXLEN").arg("~").arg(self.keep).arg("*");
            add.arg("position").arg(event.position.unwrap_or(0)).arg("id").arg(event.id.to_string());
            add.arg("type").arg(&event.kind).arg("tenant").arg(event.tenant_id.to_string());
            add.arg("event").arg(document).ignore();
        }
        batch.query_async::<()>(&mut connection).await?;
        // Only a connection that has just worked is used again.
        *held = Some(connection);
        Ok(())
    }
}

impl Sink for RedisStreams {
    fn deliver<'a>(&'a self, events: &'a [EventRow]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match tokio::time::timeout(PATIENCE, self.add(events)).await {
                Ok(added) => added.map_err(|error| away().source_error(error)),
                Err(_) => Err(away()),
            }
        })
    }
}

/// Reads the address of a Redis server.
pub(crate) fn open(url: &str) -> Result<redis::Client> {
    let wrong = |error| Error::invalid("config.invalid", "the Redis URL is not valid").source_error(error);
    redis::Client::open(url).map_err(wrong)
}

fn away() -> Error {
    Error::unavailable("events.redis_unavailable", "Redis does not answer; try again shortly").retry_after(2)
}
