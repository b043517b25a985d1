//! Where one issuer's keys come from, and the keys that are held: fetched at the start, again and again,
//! and when a token names one that is not known. The last good set stays when the issuer is away. Not for
//! what a key signed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use jsonwebtoken::Algorithm;
use kernel::{Clock, Error, Result, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::issuers::Changes;
use crate::keys::KeySet;
use crate::origin::Origin;
use crate::pace::{Pace, Step};

/// How many requests may wait for one issuer's keys.
const WAITING: usize = 1024;

/// Keys, and when they were fetched.
pub(crate) struct Held {
    pub set: KeySet,
    fetched: Timestamp,
}

/// How an issuer's keys are, for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The issuer's name.
    pub issuer: Arc<str>,
    /// How many keys are held.
    pub keys: usize,
    /// When they were fetched last; nothing for a secret, and before the first time.
    pub fetched: Option<Timestamp>,
    /// Whether the last fetch failed.
    pub failing: bool,
    /// How many fetches brought keys.
    pub fetches: u64,
    /// How many did not.
    pub failures: u64,
    /// How many tokens of its were refused (401).
    pub refused: u64,
}

/// The keys of one issuer.
pub(crate) struct Source {
    config: Config,
    name: Arc<str>,
    accepted: Vec<Algorithm>,
    /// Nothing for a secret.
    origin: Option<Origin>,
    handle: Handle,
    clock: Clock,
    changes: Arc<Changes>,
    held: ArcSwapOption<Held>,
    pace: Mutex<Pace>,
    /// Counts the fetches that have ended.
    ended: watch::Sender<u64>,
    waiting: AtomicUsize,
    failing: AtomicBool,
    fetches: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    refreshing: Mutex<Option<AbortHandle>>,
}

impl Source {
    /// Starts to keep the keys of an issuer. A file must be readable now; a server may be away.
    pub(crate) fn start(config: &Config, handle: &Handle, clock: &Clock, changes: &Arc<Changes>) -> Result<Arc<Self>> {
        let source = Arc::new(Self {
            name: config.name.as_str().into(),
            accepted: config.accepted(),
            origin: Origin::of(config)?,
            handle: handle.clone(),
            clock: clock.clone(),
            changes: changes.clone(),
            held: ArcSwapOption::empty(),
            pace: Mutex::new(Pace::new(Duration::from_millis(config.refetch_window_ms))),
            ended: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            fetches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            refreshing: Mutex::new(None),
            config: config.clone(),
        });
        let first = match &source.origin {
            None => {
                let set = KeySet::secret(&config.secret.0);
                source.held.store(Some(Arc::new(Held { set, fetched: clock.now() })));
                return Ok(source);
            }
            Some(origin) if origin.is_file() => {
                let read = origin.read_now();
                read.and_then(|bytes| source.take(&bytes)).map_err(|why| config.wrong("jwks_file", &why))?;
                None
            }
            // Begun before the first request can come, so that it waits for this one and spends no turn.
            Some(_) => source.pace().begin(Instant::now()).then(|| Turn::of(&source)),
        };
        let task = handle.spawn(refresh(Arc::downgrade(&source), first));
        *source.refreshing.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        Ok(source)
    }

    /// Returns the configuration that it was started with.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the keys, unless there are none yet or they have not been confirmed for too long.
    pub(crate) fn held(&self, now: Timestamp) -> Option<Arc<Held>> {
        let held = self.held.load_full()?;
        let limit = Duration::from_secs(self.config.stale_limit_seconds);
        let stale = self.origin.is_some() && !limit.is_zero() && held.fetched.plus(limit) < now;
        (!stale).then_some(held)
    }

    /// Waits until it makes sense to look for a key again. `false` says that the answer is final now.
    pub(crate) async fn look_again(self: &Arc<Self>, name: Option<&str>, arrived: Instant) -> Result<bool> {
        let deadline = arrived + Duration::from_millis(self.config.unknown_key_wait_ms);
        let _place = Waiter::enter(&self.waiting).ok_or_else(|| self.pending(Duration::from_secs(1)))?;
        // Before the step, so that a fetch that ends in between is noticed.
        let mut ended = self.ended.subscribe();
        let now = Instant::now();
        let step = self.pace().step(name, arrived, now);
        match step {
            Step::Absent => return Ok(false),
            Step::Failed => return Err(self.unavailable()),
            Step::Later(left) if now + left > deadline => return Err(self.pending(left)),
            Step::Later(left) => {
                tokio::time::sleep(left).await;
                return Ok(true);
            }
            // On the background's runtime: it goes on when the request that wanted it is gone.
            Step::Fetch => drop(self.handle.spawn(Turn::of(self).fetch(false))),
            Step::Wait => {}
        }
        match tokio::time::timeout_at(tokio::time::Instant::from_std(deadline), ended.changed()).await {
            Ok(_) => Ok(true),
            Err(_) => Err(self.pending(Duration::from_secs(1))),
        }
    }

    /// Counts a refused token.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how it is.
    pub(crate) fn state(&self) -> State {
        let held = self.held.load();
        State {
            issuer: self.name.clone(),
            keys: held.as_ref().map_or(0, |held| held.set.len()),
            fetched: held.as_ref().filter(|_| self.origin.is_some()).map(|held| held.fetched),
            failing: self.failing.load(Ordering::Relaxed),
            fetches: self.fetches.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self, left: Duration) -> Error {
        let seconds = u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        Error::unavailable("gateway.issuer_key_pending", "the issuer's keys are being fetched; ask again")
            .retry_after(seconds)
            .context(format!("issuer {}", self.name))
    }

    fn unavailable(&self) -> Error {
        let seconds = u32::try_from(self.config.refetch_window_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        Error::unavailable("gateway.issuer_unavailable", "the issuer's keys cannot be had now; ask again later")
            .retry_after(seconds)
            .context(format!("issuer {}", self.name))
    }

    /// Returns how long to wait before the next fetch that nobody asks for.
    fn pause(&self, failures: u32) -> Duration {
        let refresh = Duration::from_secs(u64::from(self.config.refresh_seconds));
        let window = Duration::from_millis(self.config.refetch_window_ms);
        let pause = match failures {
            0 => refresh,
            _ => window.saturating_mul(1 << (failures - 1).min(10)).min(refresh),
        };
        // Between nine and eleven tenths, so that many gateways do not ask at once.
        let tenths = 9_000 + u32::try_from(RandomState::new().hash_one(0) % 2_001).unwrap_or_default();
        pause.saturating_mul(tenths) / 10_000
    }

    async fn load(&self, anew: bool) -> Result<Bytes, String> {
        match &self.origin {
            Some(origin) => origin.load(anew).await,
            None => Err("a secret is not fetched".into()),
        }
    }

    /// Takes a fetched set in place of the one that is held.
    fn take(&self, bytes: &[u8]) -> Result<(), String> {
        let (set, left_out) = KeySet::parse(bytes, &self.accepted)?;
        for reason in left_out {
            tracing::debug!(issuer = &*self.name, reason, "a key of an issuer is left out");
        }
        // Nobody rotates to nothing; a mistake there must not lock everybody out here.
        if set.len() == 0 {
            return Err("it has no key that can be used here".into());
        }
        let (keys, before) = (set.len(), self.held.load_full());
        let lost = before.as_ref().is_some_and(|held| held.set.loses_to(&set));
        let new = before.as_ref().is_none_or(|held| set.loses_to(&held.set));
        self.held.store(Some(Arc::new(Held { set, fetched: self.clock.now() })));
        if lost || new {
            tracing::info!(issuer = &*self.name, keys, removed = lost, "the keys of an issuer have changed");
        }
        // After the swap: what is checked from here on is checked against the new set.
        if lost {
            self.changes.say(&self.name);
        }
        Ok(())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let task = self.refreshing.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

/// Fetches until the source is dropped; the first time, unless keys are there, for a turn that was begun.
async fn refresh(source: Weak<Source>, mut first: Option<Turn>) {
    let mut failures = 0;
    let mut read = first.is_none();
    loop {
        let Some(source) = source.upgrade() else { return };
        let turn = match first.take() {
            Some(turn) => Some(turn),
            None if std::mem::take(&mut read) => None,
            None => source.pace().begin(Instant::now()).then(|| Turn::of(&source)),
        };
        if let Some(turn) = turn {
            let brought = turn.fetch(true).await;
            failures = if brought { 0 } else { failures + 1 };
        }
        let pause = source.pause(failures);
        drop(source);
        tokio::time::sleep(pause).await;
    }
}

/// A fetch that was begun. It ends whatever becomes of it, so that nobody waits for ever.
struct Turn {
    source: Arc<Source>,
    brought: bool,
}

impl Turn {
    fn of(source: &Arc<Source>) -> Self {
        Self { source: source.clone(), brought: false }
    }

    async fn fetch(mut self, anew: bool) -> bool {
        let source = self.source.clone();
        match source.load(anew).await.and_then(|bytes| source.take(&bytes)) {
            Ok(()) => {
                self.brought = true;
                source.fetches.fetch_add(1, Ordering::Relaxed);
                if source.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(issuer = &*source.name, "the keys of an issuer can be fetched again");
                }
            }
            Err(why) => {
                source.failures.fetch_add(1, Ordering::Relaxed);
                if !source.failing.swap(true, Ordering::Relaxed) {
                    let kept = source.held.load().is_some();
                    tracing::warn!(
                        issuer = &*source.name,
                        reason = why,
                        kept,
                        "the keys of an issuer cannot be fetched"
                    );
                }
            }
        }
        self.brought
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.source.pace().end(self.brought);
        self.source.ended.send_modify(|count| *count += 1);
    }
}

/// One of the places for those who wait.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        // Counted first and given back if it was too many.
        let waiter = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < WAITING).then_some(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
