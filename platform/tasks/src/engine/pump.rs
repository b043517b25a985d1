//! Keeps the workers of one process busy: looks, leases, starts, and waits for the next reason to do
//! so again. Not for any single task.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernel::{Result, Timestamp};
use store::Purpose;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::Inner;
use super::attempt::attempt;
use super::board::{Board, Claimed};
use super::claim::Round;
use super::clock::Clockwork;
use super::ending::{Ended, How, write_down};
use crate::queries;

/// Tasks shorter than this are leased ahead, so that workers do not wait for the queue.
const SHORT: Duration = Duration::from_millis(20);
/// The queue is not looked at more often than this for what becomes due.
const SOON: Duration = Duration::from_millis(10);

pub(super) fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The moving parts of one process. Dropping it stops everything where it is.
pub(super) struct Pump {
    inner: Arc<Inner>,
    board: Arc<Mutex<Board>>,
    round: Round,
    clockwork: Clockwork,
    /// One for each task under way; gives how long it took.
    crew: JoinSet<Duration>,
    /// What writes endings down and what keeps leases.
    helpers: JoinSet<()>,
    endings: mpsc::Sender<Ended>,
    settled: Arc<Notify>,
    /// How long tasks take, on a sliding average.
    pace: Duration,
    attempts: usize,
}

impl Pump {
    pub fn new(inner: Arc<Inner>) -> Self {
        let board = Arc::new(Mutex::new(Board::default()));
        let settled = Arc::new(Notify::new());
        let (endings, ended) = mpsc::channel(256);
        let mut helpers = JoinSet::new();
        helpers.spawn(write_down(inner.clone(), board.clone(), settled.clone(), ended));
        helpers.spawn(keep_leases(inner.clone(), board.clone()));
        let clockwork = Clockwork::new(&inner);
        let (round, crew, pace) = (Round::default(), JoinSet::new(), Duration::from_secs(1));
        Self { inner, board, round, clockwork, crew, helpers, endings, settled, pace, attempts: 0 }
    }

    /// Works until it is told to stop.
    pub async fn serve(mut self, mut stop: watch::Receiver<bool>) {
        self.clockwork.start();
        let poll = self.inner.config.poll();
        let (mut next_look, mut due, mut glance) = (Instant::now(), None, self.inner.store.glance());
        while !*stop.borrow() {
            let rung = self.inner.rung.swap(false, Ordering::SeqCst);
            let mut look = rung || Instant::now() >= next_look;
            // Asked at each look, for it remembers.
            if look && !(glance.may_have_changed() | rung | until(due, self.inner.store.clock().now()).is_zero()) {
                look = false;
                next_look = Instant::now() + poll;
            }
            match self.fill(look).await {
                Ok(filled) => {
                    if look {
                        due = filled.next;
                        // What is due and was not leased waits for something to end, or is unknown here.
                        let pause = until(filled.next, self.inner.store.clock().now());
                        next_look =
                            Instant::now() + if pause.is_zero() { poll } else { pause.clamp(SOON.min(poll), poll) };
                    }
                    if filled.claimed > 0 && self.room() > 0 && lock(&self.board).has_hot() {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "no tasks could be leased: trying again");
                    next_look = Instant::now() + poll;
                    due = Some(Timestamp(i64::MIN));
                }
            }
            let pause = next_look.saturating_duration_since(Instant::now());
            tokio::select! {
                _ = stop.changed() => {}
                () = self.inner.wake.notified() => {}
                Some(took) = self.crew.join_next() => self.note(took.ok()),
                () = tokio::time::sleep(pause) => {}
            }
            while let Some(took) = self.crew.try_join_next() {
                self.note(took.ok());
            }
        }
        self.stop().await;
    }

    /// Runs what is due until nothing is.
    pub async fn run_until_idle(mut self) -> Result<usize> {
        loop {
            let scheduled = self.clockwork.run_due().await?;
            // Asked before: what runs while the queue is looked at may make room for more.
            let idle = lock(&self.board).leased() == 0;
            let filled = self.fill(true).await?;
            if scheduled == 0 && filled.claimed == 0 && idle {
                return Ok(self.attempts);
            }
            if lock(&self.board).leased() > 0 {
                tokio::select! {
                    Some(took) = self.crew.join_next() => self.note(took.ok()),
                    () = self.settled.notified() => {}
                }
            }
        }
    }

    fn places(&self) -> usize {
        let workers = self.inner.config.workers();
        if self.pace < SHORT { workers * 2 } else { workers }
    }

    fn room(&self) -> usize {
        lock(&self.board).room(self.places())
    }

    /// Leases what there is room for and gives it to workers.
    async fn fill(&mut self, look: bool) -> Result<Filled> {
        lock(&self.board).heat(self.inner.take_told());
        let mut filled = Filled { claimed: 0, next: None };
        if look {
            filled.next = self.round.look(&self.inner, &self.board).await?;
        }
        let places = self.places();
        if self.room() > 0 {
            filled.claimed = self.round.claim(&self.inner, &self.board, places).await?;
        }
        self.start();
        Ok(filled)
    }

    fn start(&mut self) {
        let workers = self.inner.config.workers();
        loop {
            let next = lock(&self.board).start_next(workers);
            let Some(claimed) = next else { return };
            self.attempts += 1;
            self.crew.spawn(worker(self.inner.clone(), self.board.clone(), self.endings.clone(), claimed));
        }
    }

    fn note(&mut self, took: Option<Duration>) {
        if let Some(took) = took {
            self.pace = (self.pace * 7 + took) / 8;
        }
        self.start();
    }

    /// Waits for what is under way up to a limit; leases of the rest run out.
    async fn stop(mut self) {
        for claimed in lock(&self.board).take_waiting() {
            let _ = self.endings.try_send(ended(&claimed, How::Released));
        }
        let (board, settled) = (self.board.clone(), self.settled.clone());
        let crew = &mut self.crew;
        let finish = async {
            while crew.join_next().await.is_some() {}
            while lock(&board).leased() > 0 {
                settled.notified().await;
            }
        };
        let limit = Duration::from_millis(self.inner.config.stop_ms);
        if tokio::time::timeout(limit, finish).await.is_err() {
            tracing::warn!(tasks = lock(&self.board).leased(), "stopping with tasks under way: their leases run out");
        }
        self.helpers.abort_all();
    }
}

struct Filled {
    claimed: usize,
    next: Option<Timestamp>,
}

pub(super) fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    next.map_or(Duration::MAX, |next| Duration::from_micros(u64::try_from(next.0.saturating_sub(now.0)).unwrap_or(0)))
}

fn ended(claimed: &Claimed, how: How) -> Ended {
    let (lease, job, attempt) = (claimed.lease(), claimed.job, claimed.attempt);
    Ended { lease, job, attempt, correlation_id: claimed.correlation_id.clone(), how }
}

async fn worker(
    inner: Arc<Inner>,
    board: Arc<Mutex<Board>>,
    endings: mpsc::Sender<Ended>,
    claimed: Claimed,
) -> Duration {
    let began = Instant::now();
    let (tenant, job) = (claimed.tenant, claimed.job);
    let ended = attempt(&inner, claimed).await;
    let took = began.elapsed();
    lock(&board).stopped(tenant, job);
    // The receiver lives as long as the process works.
    let _ = endings.send(ended).await;
    took
}

/// Keeps the leases of this process while it works on them.
async fn keep_leases(inner: Arc<Inner>, board: Arc<Mutex<Board>>) {
    loop {
        tokio::time::sleep(inner.config.lease() / 3).await;
        let leases = lock(&board).leases();
        for some in leases.chunks(64) {
            if let Err(error) = renew(&inner, some).await {
                tracing::warn!(error = %error, "leases of tasks could not be renewed");
            }
        }
    }
}

async fn renew(inner: &Inner, leases: &[queries::Lease]) -> Result<()> {
    let system = inner.store.system(Purpose::Tasks).await?;
    let until = system.now().plus(inner.config.lease());
    system.execute(&queries::renew(leases, until)).await?;
    system.commit().await
}
