//! Passwords: what a new one must be, and the bounded pool that hashes them with argon2id. A hash
//! costs tens of milliseconds of a core on purpose, so a flood of sign-ins is turned away at the
//! queue instead of taking the machine. Not for random secrets: a fast hash is right for those.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use kernel::{Error, Result};
use serde::{Deserialize, Deserializer};
use tokio::sync::oneshot;

use crate::settings::Settings;

/// The longest password that is looked at, in characters; longer ones are refused, never cut.
const LONGEST: usize = 512;

/// A password as it was typed. It does not print itself.
#[derive(Clone)]
pub(crate) struct Password(String);

impl Password {
    fn new(text: String) -> Result<Self, String> {
        let known = if text.is_empty() { Err("must not be empty") } else { Ok(()) };
        let fits = if text.chars().count() > LONGEST { Err("must have at most 512 characters") } else { Ok(()) };
        known.and(fits).map_err(str::to_owned)?;
        Ok(Self(text))
    }

    /// Refuses a new password that is too short or easily guessed, given what is known of its owner.
    pub(crate) fn check_new(&self, settings: &Settings, owner: &[&str], field: &str) -> Result<()> {
        let refused = |why: String| Err(Error::invalid("identity.weak_password", why.clone()).field(field, why));
        let length = self.0.chars().count();
        if length < settings.password_min_length {
            return refused(format!("must have at least {} characters", settings.password_min_length));
        }
        let inputs: Vec<&str> = owner.iter().copied().filter(|input| !input.is_empty()).collect();
        let strength = zxcvbn::zxcvbn(&self.0, &inputs);
        if strength.score() < zxcvbn::Score::Three {
            let why = strength.feedback().and_then(|feedback| feedback.warning()).map(|warning| warning.to_string());
            let why = why.unwrap_or_else(|| "it is easily guessed".to_owned());
            return refused(format!("is too easy to guess: {why} Several unrelated words are better."));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Password {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        let format = SchemaFormat::KnownFormat(KnownFormat::Password);
        let text = ObjectBuilder::new().schema_type(Type::String).format(Some(format));
        text.min_length(Some(1)).max_length(Some(LONGEST)).into()
    }
}
impl utoipa::ToSchema for Password {}

/// What hashing costs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cost {
    params: Params,
}

/// Hashes and checks passwords on threads of its own.
pub(crate) struct PasswordPool {
    cost: Cost,
    workers: usize,
    queue: usize,
    jobs: OnceLock<SyncSender<Job>>,
    dummy: OnceLock<String>,
    held: Arc<AtomicUsize>,
    done: Arc<AtomicU64>,
    refused: AtomicU64,
}

type Job = Box<dyn FnOnce() + Send>;

/// A place in the queue. Take it before anything is asked of the database, so that a flood of
/// sign-ins costs no more than being turned away.
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What came of checking a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It is not the password, or there is none.
    Wrong,
    /// It is; the stored hash is as strong as new ones.
    Right,
    /// It is, and this stronger hash should be stored instead.
    Rehashed(String),
}

impl PasswordPool {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let params = Params::new(settings.password_memory_kib, settings.password_passes, 1, None);
        let params = params.map_err(|error| Error::invalid("config.invalid", format!("password hashing: {error}")))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if settings.password_workers == 0 { (cores / 2).max(1) } else { settings.password_workers };
        Ok(Self {
            cost: Cost { params },
            workers,
            queue: settings.password_queue,
            jobs: OnceLock::new(),
            dummy: OnceLock::new(),
            held: Arc::default(),
            done: Arc::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// Returns how many hashes were computed and how many requests were turned away.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Takes a place in the queue, or refuses at once when too many wait.
    pub(crate) fn reserve(&self) -> Result<Slot> {
        let slot = Slot(self.held.clone());
        if self.held.fetch_add(1, Ordering::SeqCst) < self.workers + self.queue {
            return Ok(slot);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let message = "too many people are signing in at once; try again shortly";
        Err(Error::unavailable("identity.busy", message).retry_after(2))
    }

    /// Returns the PHC string of a new password.
    pub(crate) async fn hash(&self, password: Password) -> Result<String> {
        let (slot, cost) = (self.reserve()?, self.cost.clone());
        self.run(slot, move || cost.hash(&password)).await?
    }

    /// Checks a password against what is stored. With nothing stored it costs the same and is wrong.
    pub(crate) async fn check(&self, slot: Slot, password: Password, stored: Option<String>) -> Result<Checked> {
        let cost = self.cost.clone();
        let Some(stored) = stored else {
            let dummy = self.dummy.get().cloned();
            let hashed = self
                .run(slot, move || {
                    // The first unknown name pays for the dummy; from then on it is one check like any other.
                    let dummy = dummy.map_or_else(|| cost.hash(&Password("no such person".to_owned())), Ok)?;
                    cost.check(&password, &dummy);
                    Ok::<_, Error>(dummy)
                })
                .await??;
            let _ = self.dummy.set(hashed);
            return Ok(Checked::Wrong);
        };
        self.run(slot, move || {
            if !cost.check(&password, &stored) {
                return Ok(Checked::Wrong);
            }
            if cost.is_of(&stored) { Ok(Checked::Right) } else { cost.hash(&password).map(Checked::Rehashed) }
        })
        .await?
    }

    /// Runs work on a worker.
    async fn run<T: Send + 'static>(&self, slot: Slot, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (send, receive) = oneshot::channel();
        let done = self.done.clone();
        let job: Job = Box::new(move || {
            let _slot = slot;
            // Whoever asked may have gone; then there is nothing to do.
            if !send.is_closed() {
                let worked = work();
                done.fetch_add(1, Ordering::Relaxed);
                let _ = send.send(worked);
            }
        });
        // There is room for as many jobs as there are places.
        let sent = self.jobs.get_or_init(|| self.start()).try_send(job);
        sent.map_err(|_| Error::internal("the password queue is shorter than its places"))?;
        receive.await.map_err(|_| Error::internal("a password worker ended"))
    }

    /// Starts the workers; they end when the pool is dropped.
    fn start(&self) -> SyncSender<Job> {
        let (send, receive) = sync_channel::<Job>(self.workers + self.queue);
        let receive = Arc::new(Mutex::new(receive));
        for number in 0..self.workers {
            let receive = receive.clone();
            let work = move || {
                loop {
                    let job = receive.lock().expect("a worker takes its job and nothing else").recv();
                    let Ok(job) = job else { return };
                    job();
                }
            };
            let thread = std::thread::Builder::new().name(format!("password-{number}"));
            thread.spawn(work).expect("the system has room for a thread");
        }
        send
    }
}

impl Cost {
    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    fn hash(&self, password: &Password) -> Result<String> {
        let salt: [u8; 16] = crate::credentials::secret::random()?;
        let failed = |error| Error::internal(format!("a password could not be hashed: {error}"));
        let hashed = self.argon2().hash_password_with_salt(password.0.as_bytes(), &salt).map_err(failed)?;
        Ok(hashed.to_string())
    }

    /// The cost is read from the stored hash, so older ones still check.
    fn check(&self, password: &Password, stored: &str) -> bool {
        PasswordVerifier::<str>::verify_password(&self.argon2(), password.0.as_bytes(), stored).is_ok()
    }

    fn is_of(&self, stored: &str) -> bool {
        let (memory, passes) = (self.params.m_cost(), self.params.t_cost());
        stored.starts_with(&format!("$argon2id$v=19$m={memory},t={passes},p=1$"))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn typed(text: &str) -> Password {
        Password::new(text.to_owned()).expect("a password")
    }

    fn cheap() -> Settings {
        Settings { password_memory_kib: 64, password_passes: 1, password_workers: 1, ..Settings::default() }
    }

    #[tokio::test]
    async fn a_password_is_recognised_and_an_old_hash_is_replaced() {
        let pool = PasswordPool::new(&cheap()).expect("a pool");
        let stored = pool.hash(typed("correct horse")).await.expect("hashes");
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        let check = |text: &str, stored: Option<&String>| {
            pool.check(pool.reserve().expect("a place"), typed(text), stored.cloned())
        };
        assert_eq!(check("correct horse", Some(&stored)).await.expect("checks"), Checked::Right);
        assert_eq!(check("correct hors", Some(&stored)).await.expect("checks"), Checked::Wrong);
        assert_eq!(check("correct horse", None).await.expect("checks"), Checked::Wrong);
        assert_eq!(check("correct horse", Some(&"garbage".to_owned())).await.expect("checks"), Checked::Wrong);
        let stronger = PasswordPool::new(&Settings { password_passes: 2, ..cheap() }).expect("a pool");
        let again = stronger
            .check(stronger.reserve().expect("a place"), typed("correct horse"), Some(stored))
            .await
            .expect("checks");
        assert!(matches!(&again, Checked::Rehashed(new) if new.contains("t=2")), "{again:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_queue_turns_people_away_and_an_unknown_name_costs_one_check() {
        let pool = PasswordPool::new(&Settings { password_queue: 1, ..cheap() }).expect("a pool");
        let unknown = |text: &str| pool.check(pool.reserve().expect("a place"), typed(text), None);
        unknown("a").await.expect("checks");
        let before = pool.counts().0;
        unknown("b").await.expect("checks");
        assert_eq!(pool.counts().0, before + 1);
        // One job holds the worker, one waits; the third finds no place.
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (running, runs) = oneshot::channel();
        let first = pool.run(pool.reserve().expect("a place"), move || {
            let _ = running.send(());
            let _ = held.recv();
        });
        let third = async {
            runs.await.expect("the first runs");
            let mut second = Box::pin(pool.run(pool.reserve().expect("a place"), || ()));
            let queued = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
            assert!(queued.await);
            let refused = pool.reserve().err().expect("no place");
            hold.send(()).expect("it waits");
            second.await.expect("its turn came");
            refused
        };
        let (first, refused) = tokio::join!(first, third);
        first.expect("it ended");
        assert_eq!((refused.code(), refused.status()), ("identity.busy", 503));
        assert!(refused.retry_after_seconds().is_some());
        assert_eq!(pool.counts().1, 1);
        pool.reserve().expect("all places are free again");
    }

    #[test]
    fn weak_passwords_are_refused_and_a_password_never_prints() {
        let settings = Settings::default();
        for weak in ["short", "password1234", "aaaaaaaaaaaaaaaa", "ada@example.org", "qwertyuiop123"] {
            let error = typed(weak).check_new(&settings, &["ada@example.org", "Ada"], "password").expect_err(weak);
            assert_eq!(error.code(), "identity.weak_password");
            assert!(!error.to_string().contains(&format!("{weak} ")), "{error}");
        }
        typed("seven otters juggle lamps").check_new(&settings, &["ada@example.org"], "password").expect("strong");
        assert!(!format!("{:?}", typed("seven otters")).contains("otters"));
        assert!(Password::new("x".repeat(513)).is_err());
    }
}
