//! The tier in Redis: look-ups, storing, and the invalidations of all nodes. Redis may be away at any time; then there
//! is only memory. Not for what may be given of what is found; see `tiers`.
//!
//! An invalidation counts up, writes the count beside each tag, and is added to a log, all in one step. An answer
//! carries the count of before it was asked for, and each look-up compares it with its tags: what was invalidated since
//! is never given, heard or not. Each node reads the log for what it has in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::{Clock, Error, Id, Result, Tenant, TenantId};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::codec;
use crate::config::RedisConfig;
use crate::tag::Tag;

/// How long one reading of the log waits for news: also how often it is known that Redis is there.
const BREATH: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSES: [u64; 5] = [100, 200, 500, 1_000, 2_000];
/// So many failures in a row, and nobody asks until the connection is made anew.
const FAILURES: u32 = 3;
/// So many invalidations wait for Redis; more become one of everything.
const WAITING: usize = 10_000;
/// So many answers wait to be stored; more are only in memory.
const PUTS: usize = 256;
const LOG: usize = 100_000;

const INVALIDATE: &str = "local n = redis.call('INCR', KEYS[1]) \
    if n < tonumber(ARGV[1]) then n = tonumber(ARGV[1]) redis.call('SET', KEYS[1], string.format('%.0f', n)) end \
    for i = 3, #KEYS do redis.call('SET', KEYS[i], string.format('%.0f', n), 'EX', ARGV[2]) end \
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'e', ARGV[3]) \
    return n";

/// What a node tells of another's invalidations: a tenant's tags; no tags: everything.
pub(crate) type Heard = Box<dyn Fn(Option<TenantId>, &[Tag]) + Send + Sync>;

/// The connection to the shared tier. It ends when it is dropped.
pub(crate) struct RedisTier {
    shared: Arc<Shared>,
    puts: mpsc::Sender<(Vec<u8>, Vec<u8>, u64)>,
    tasks: Vec<AbortHandle>,
}

struct Shared {
    client: Client,
    config: RedisConfig,
    clock: Clock,
    node: [u8; 16],
    connection: Mutex<Option<MultiplexedConnection>>,
    failures: AtomicU32,
    broken: Notify,
    /// When the log was last read, in microseconds of the calendar.
    heard: AtomicI64,
    waiting: Mutex<VecDeque<(Option<TenantId>, Vec<Tag>)>>,
    unsent: AtomicUsize,
    news: Notify,
}

impl Drop for RedisTier {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl RedisTier {
    /// Begins to connect, on this runtime.
    pub(crate) fn start(config: &RedisConfig, clock: Clock, runtime: &Handle, heard: Heard) -> Result<Self> {
        let client = Client::open(config.url.as_str()).map_err(|_| {
            Error::invalid("config.invalid", "cache.redis.url: it is not the address of a Redis server")
        })?;
        let shared = Arc::new(Shared {
            client,
            config: config.clone(),
            clock,
            node: Id::<Tenant>::new().uuid().into_bytes(),
            connection: Mutex::default(),
            failures: AtomicU32::new(0),
            broken: Notify::new(),
            heard: AtomicI64::new(0),
            waiting: Mutex::default(),
            unsent: AtomicUsize::new(0),
            news: Notify::new(),
        });
        let (puts, inbox) = mpsc::channel(PUTS);
        let tasks = vec![
            runtime.spawn(listen(shared.clone(), heard)).abort_handle(),
            runtime.spawn(send(shared.clone())).abort_handle(),
            runtime.spawn(put(shared.clone(), inbox)).abort_handle(),
        ];
        Ok(Self { shared, puts, tasks })
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.shared.config
    }

    /// Returns for how long what is in memory can be trusted, in microseconds; `None` while Redis is in touch.
    pub(crate) fn trusted(&self) -> Option<i64> {
        let bound = i64::try_from(self.shared.config.bound_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        let silent = self.shared.clock.now().0.saturating_sub(self.shared.heard.load(Ordering::Relaxed));
        (silent > bound).then_some(bound)
    }

    /// Tells all nodes, as soon as Redis is there; until then nothing is read from it.
    pub(crate) fn invalidate(&self, tenant: Option<TenantId>, tags: &[Tag]) {
        let mut waiting = self.shared.waiting();
        if waiting.len() >= WAITING {
            waiting.clear();
            waiting.push_back((None, Vec::new()));
        } else {
            waiting.push_back((tenant, tags.to_vec()));
        }
        self.shared.unsent.store(waiting.len(), Ordering::SeqCst);
        drop(waiting);
        self.shared.news.notify_one();
    }

    /// Returns what is under a key, and how many invalidations there have been; `None` where Redis cannot say.
    pub(crate) async fn get(&self, name: &[u8]) -> Option<(Option<Vec<u8>>, u64)> {
        let keys = [self.shared.key(b"e:", name), self.shared.key(b"n", b"")];
        let found: Vec<Option<Vec<u8>>> = self.ask(redis::cmd("MGET").arg(&keys)).await?;
        let [data, count] = <[_; 2]>::try_from(found).ok()?;
        Some((data, count.map_or(Some(0), |count| std::str::from_utf8(&count).ok()?.parse().ok())?))
    }

    /// Says whether none of these tags was invalidated since.
    pub(crate) async fn is_good(&self, tenant: Option<TenantId>, tags: &[Tag], began: u64) -> Option<bool> {
        let mut keys = vec![self.shared.key(b"f", b"")];
        keys.extend(tags.iter().map(|tag| self.shared.tag(tenant, tag)));
        let counts: Vec<Option<Vec<u8>>> = self.ask(redis::cmd("MGET").arg(&keys)).await?;
        let late = |count: &Vec<u8>| {
            std::str::from_utf8(count).ok().and_then(|text| text.parse().ok()).is_none_or(|n: u64| n > began)
        };
        Some(!counts.iter().flatten().any(late))
    }

    /// Stores this in the background, unless there is too much to store.
    pub(crate) fn put(&self, name: &[u8], data: Vec<u8>, milliseconds: u64) {
        if self.shared.connection().is_some() {
            let _ = self.puts.try_send((self.shared.key(b"e:", name), data, milliseconds));
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        // What has not been told yet would be missing from the counts.
        if self.shared.unsent.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let mut connection = self.shared.connection().clone()?;
        let limit = Duration::from_millis(self.shared.config.timeout_ms);
        match tokio::time::timeout(limit, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => {
                self.shared.failures.store(0, Ordering::Relaxed);
                Some(answer)
            }
            Ok(Err(_)) | Err(_) => {
                if self.shared.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
                    self.shared.give_up();
                }
                None
            }
        }
    }
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Option<TenantId>, Vec<Tag>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks no more until there is a new connection.
    fn give_up(&self) {
        if self.connection().take().is_some() {
            self.broken.notify_one();
        }
    }

    fn key(&self, kind: &[u8], name: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.config.prefix.len() + 40);
        key.extend_from_slice(self.config.prefix.as_bytes());
        key.push(b':');
        key.extend_from_slice(kind);
        if !name.is_empty() {
            key.extend_from_slice(&Sha256::digest(name));
        }
        key
    }

    fn tag(&self, tenant: Option<TenantId>, tag: &Tag) -> Vec<u8> {
        let mut name = vec![u8::from(tenant.is_some())];
        name.extend_from_slice(&tenant.map_or([0; 16], |tenant| tenant.uuid().into_bytes()));
        name.extend_from_slice(tag);
        self.key(b"g:", &name)
    }

    async fn connect(&self, response: Duration) -> redis::RedisResult<MultiplexedConnection> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(response));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// Keeps the connection, and reads what the other nodes invalidate.
async fn listen(shared: Arc<Shared>, heard: Heard) {
    let mut last: Option<String> = None;
    let mut failures = 0;
    loop {
        match follow(&shared, &heard, &mut last, &mut failures).await {
            Ok(()) => {}
            Err(error) if failures == 0 => {
                tracing::warn!(error = %error, "the shared cache is away; answers are kept in memory only");
            }
            Err(error) => tracing::debug!(error = %error, "the shared cache is still away"),
        }
        shared.connection().take();
        tokio::time::sleep(Duration::from_millis(PAUSES[failures.min(PAUSES.len() - 1)])).await;
        failures += 1;
    }
}

async fn follow(
    shared: &Shared,
    heard: &Heard,
    last: &mut Option<String>,
    failures: &mut usize,
) -> redis::RedisResult<()> {
    type Log = Option<Vec<(Vec<u8>, Vec<(String, Vec<Vec<u8>>)>)>>;
    let mut reading = shared.connect(BREATH + PATIENCE).await?;
    let asking = shared.connect(PATIENCE).await?;
    let log = shared.key(b"l", b"");
    let mut place = match last.take() {
        Some(place) => {
            let known: Vec<(String, Vec<Vec<u8>>)> =
                redis::cmd("XRANGE").arg(&log).arg(&place).arg(&place).query_async(&mut reading).await?;
            if known.is_empty() {
                // The log was cut or lost: whatever was invalidated meanwhile cannot be known.
                heard(None, &[]);
            }
            place
        }
        // What is in memory from before the first connection was heard of by nobody else.
        None => {
            heard(None, &[]);
            "0-0".to_owned()
        }
    };
    if place == "0-0" {
        let end: Vec<(String, Vec<Vec<u8>>)> =
            redis::cmd("XREVRANGE").arg(&log).arg("+").arg("-").arg("COUNT").arg(1).query_async(&mut reading).await?;
        place = end.into_iter().next().map_or(place, |(id, _)| id);
    }
    loop {
        let now = shared.clock.now().0;
        let milliseconds = BREATH.as_millis() as u64;
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(1_000).arg("BLOCK").arg(milliseconds).arg("STREAMS").arg(&log).arg(&place);
        let news: Log = tokio::select! {
            news = read.query_async(&mut reading) => news?,
            () = shared.broken.notified() => return Ok(()),
        };
        for (id, fields) in news.into_iter().flatten().flat_map(|(_, entries)| entries) {
            let event = fields.get(1).and_then(|data| codec::read_event(data));
            if let Some((_, tenant, tags)) = event.filter(|(node, ..)| *node != shared.node) {
                heard(tenant, &tags);
            }
            place = id;
        }
        *last = Some(place.clone());
        // Of when the reading began: what came while it waited is in the next one.
        shared.heard.store(now, Ordering::Relaxed);
        if shared.connection().is_none() {
            *shared.connection() = Some(asking.clone());
            shared.failures.store(0, Ordering::Relaxed);
            shared.news.notify_one();
            *failures = 0;
            tracing::info!("the shared cache is there");
        }
    }
}

/// Tells Redis what was invalidated here, in order; what cannot be told waits.
async fn send(shared: Arc<Shared>) {
    loop {
        let next = shared.waiting().front().cloned();
        let connection = shared.connection().clone();
        let (Some((tenant, tags)), Some(mut connection)) = (next, connection) else {
            shared.news.notified().await;
            continue;
        };
        let mut command = redis::cmd("EVAL");
        let keys: Vec<Vec<u8>> = match tags.is_empty() {
            true => vec![shared.key(b"f", b"")],
            false => tags.iter().map(|tag| shared.tag(tenant, tag)).collect(),
        };
        // Counts outlive the answers that carry older ones.
        let keep = shared.config.max_ttl_seconds * 2 + 60;
        command.arg(INVALIDATE).arg(keys.len() + 2).arg(shared.key(b"n", b"")).arg(shared.key(b"l", b"")).arg(&keys);
        command.arg(shared.clock.now().0).arg(keep).arg(codec::event(&shared.node, tenant, &tags)).arg(LOG);
        match tokio::time::timeout(PATIENCE, command.query_async::<i64>(&mut connection)).await {
            Ok(Ok(_)) => {
                let mut waiting = shared.waiting();
                waiting.pop_front();
                shared.unsent.store(waiting.len(), Ordering::SeqCst);
            }
            Ok(Err(_)) | Err(_) => {
                shared.give_up();
                tokio::time::sleep(Duration::from_millis(PAUSES[0])).await;
            }
        }
    }
}

async fn put(shared: Arc<Shared>, mut inbox: mpsc::Receiver<(Vec<u8>, Vec<u8>, u64)>) {
    while let Some((key, data, milliseconds)) = inbox.recv().await {
        let Some(mut connection) = shared.connection().clone() else { continue };
        let mut command = redis::cmd("SET");
        command.arg(key).arg(data).arg("PX").arg(milliseconds);
        if !matches!(tokio::time::timeout(PATIENCE, command.query_async::<()>(&mut connection)).await, Ok(Ok(()))) {
            shared.give_up();
        }
    }
}
