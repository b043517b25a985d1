//! The way to Redis: one connection, made and remade in the background, so that no request waits for a dead
//! one; and the script that grants permits, which reads the server's clock and keeps GCRA's one number per
//! key. Not for what a node does with permits.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use kernel::Result;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::lease::{Grant, Wish};
use crate::wrong;

/// Grants permits for one key. KEYS: the bucket. ARGV: interval in microseconds, burst, how many to ask for, how
/// many are needed, the debt that the node knows of in microseconds. Gives: granted, debt, wait in microseconds.
///
/// `full_at` is written as text with all its digits (Lua's own way to write numbers keeps 14) and rounded up; the
/// expiry is in milliseconds, with a second to spare. A clock set back cannot lock a key for longer than a bucket
/// takes to fill. A changed rate leaves what was taken taken, in units.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local ask, need, debt = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local room = interval * burst
local stored = redis.call('HMGET', KEYS[1], 'full_at', 'interval')
if stored[1] then
  local left = stored[1] - now
  if stored[2] ~= ARGV[1] then left = left * interval / stored[2] end
  if left > debt then debt = left end
end
if debt > room then debt = room end
local granted = math.min(ask, math.floor((room - debt) / interval))
local wait = 0
if granted < need or granted == 0 then
  granted = 0
  wait = math.max(0, math.ceil(debt + math.max(need, 1) * interval - room))
end
debt = debt + granted * interval
if debt > 0 then
  redis.call('HSET', KEYS[1], 'full_at', string.format('%.0f', math.ceil(now + debt)), 'interval', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], math.ceil(debt / 1000) + 1000)
end
return {granted, math.ceil(debt), wait}
";

/// How long making a connection may take, and looking whether it is alive.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait after a failure, and how often an idle connection is looked at.
const PAUSE: Duration = Duration::from_millis(100);
const HEARTBEAT: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct Link {
    connection: MultiplexedConnection,
    script: Arc<str>,
    number: u64,
}

/// What there is of Redis.
pub(crate) struct Redis {
    runtime: Handle,
    timeout: Duration,
    link: RwLock<Option<Link>>,
    broken: Notify,
    keeper: RwLock<Option<AbortHandle>>,
}

impl Redis {
    /// Returns the way to the server at this URL; the connection is made in the background.
    pub(crate) fn open(url: &str, timeout: Duration, runtime: &Handle) -> Result<Arc<Self>> {
        // The URL may hold a password: it is not shown.
        let client = redis::Client::open(url).map_err(|_| wrong("limits: the Redis URL cannot be read"))?;
        let redis = Arc::new(Self {
            runtime: runtime.clone(),
            timeout,
            link: RwLock::default(),
            broken: Notify::new(),
            keeper: RwLock::default(),
        });
        let keeper = runtime.spawn(keep(Arc::downgrade(&redis), client)).abort_handle();
        *redis.keeper.write().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        Ok(redis)
    }

    /// Says whether there is a connection that has not failed.
    pub(crate) fn is_there(&self) -> bool {
        self.link.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Asks for permits; nothing, if Redis did not answer in time.
    pub(crate) async fn grant(&self, key: &str, interval: u64, burst: u64, wish: Wish) -> Option<Grant> {
        let mut link = self.link.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let asked = async {
            let arguments = |command: &mut redis::Cmd, script: &str| {
                command.arg(script).arg(1).arg(key);
                command.arg(format!("{}.{:03}", interval / 1_000, interval % 1_000)).arg(burst);
                command.arg(wish.ask).arg(wish.need).arg(wish.debt / 1_000);
            };
            let mut command = redis::cmd("EVALSHA");
            arguments(&mut command, &link.script);
            match command.query_async::<(u64, u64, u64)>(&mut link.connection).await {
                Err(error) if error.code() == Some("NOSCRIPT") => {
                    let mut command = redis::cmd("EVAL");
                    arguments(&mut command, SCRIPT);
                    command.query_async(&mut link.connection).await
                }
                answer => answer,
            }
        };
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok((granted, debt, wait))) => {
                Some(Grant { granted, debt: debt.saturating_mul(1_000), wait: wait.saturating_mul(1_000) })
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "Redis did not grant permits");
                self.lost(link.number);
                None
            }
            Err(_) => {
                tracing::warn!("Redis did not grant permits in time");
                self.lost(link.number);
                None
            }
        }
    }

    /// Leaves a connection that failed; the others need not find out by themselves.
    fn lost(&self, number: u64) {
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        if link.as_ref().is_some_and(|link| link.number == number) {
            *link = None;
            self.broken.notify_one();
        }
    }

    fn set(&self, link: Link) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }
}

/// Keeps a connection, and notices that it is dead before a request does.
async fn keep(redis: Weak<Redis>, client: redis::Client) {
    let mut number = 0;
    loop {
        number += 1;
        match tokio::time::timeout(PATIENCE, connect(&client, number)).await {
            Ok(Ok(link)) => {
                let mut connection = link.connection.clone();
                match redis.upgrade() {
                    Some(redis) => redis.set(link),
                    None => return,
                }
                if number > 1 {
                    tracing::info!("limits count through Redis again");
                }
                watch(&redis, &mut connection, number).await;
            }
            Ok(Err(error)) => tracing::debug!(error = %error, "limits do without Redis"),
            Err(_) => tracing::debug!("limits do without Redis: it does not answer"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connect(client: &redis::Client, number: u64) -> Result<Link, redis::RedisError> {
    let mut connection = client.get_multiplexed_async_connection().await?;
    let script: String = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
    Ok(Link { connection, script: script.into(), number })
}

/// Returns when the connection is lost.
async fn watch(redis: &Weak<Redis>, connection: &mut MultiplexedConnection, number: u64) {
    loop {
        let Some(redis) = redis.upgrade() else { return };
        if tokio::time::timeout(HEARTBEAT, redis.broken.notified()).await.is_ok() {
            return;
        }
        let ping = redis::cmd("PING");
        let alive = tokio::time::timeout(PATIENCE, ping.query_async::<()>(connection)).await;
        if !matches!(alive, Ok(Ok(()))) {
            redis.lost(number);
        }
    }
}
