//! The course of one subscription in one process: read on, give every tenant its turn, note how far
//! all have come. Not for what happens in a tenant's transaction: see `apply`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kernel::{Result, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use store::{Engine, EventRow, Purpose, fault};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::apply::{Applied, Chunk};
use crate::dispatcher::{Inner, LOOK, Work, stopped};
use crate::marks;
use crate::scan::{CHUNK, Landed, Scan, Turn};
use crate::tables::cursor;
use crate::view::View;

/// How many events are read at a time.
const PAGE: u64 = 500;
/// How many pages are read before those who have come back are seen to.
const PAGES: usize = 4;
/// How often the mark is moved while work goes on; it only saves reading again.
const MARK: Duration = Duration::from_secs(1);
/// When a holder has not moved for so long although there is work, another process helps.
const STUCK: Duration = Duration::from_secs(3);
/// How many tenants of one subscription are under way at once.
const UNDER_WAY: usize = 8;

/// A task of its own: a transaction must not stand still while something else is awaited here.
type Flight = JoinHandle<(Landed, Result<Applied>)>;

/// The course of one subscription.
pub(crate) struct Drive {
    inner: Arc<Inner>,
    work: Arc<Work>,
    scan: Option<Scan>,
    generation: i64,
    /// Where the mark stands, and when it was last moved.
    mark: i64,
    marked: Instant,
    flights: FuturesUnordered<Flight>,
    done: u64,
    lease_until: Timestamp,
    /// Where another holder's mark stood, and since when.
    watched: (i64, Instant),
}

impl Drive {
    pub(crate) fn new(inner: Arc<Inner>, work: Arc<Work>) -> Self {
        let (flights, now) = (FuturesUnordered::new(), Instant::now());
        let (generation, mark, done, lease_until, watched) = (0, 0, 0, Timestamp(0), (0, now));
        Self { inner, work, scan: None, generation, mark, marked: now, flights, done, lease_until, watched }
    }

    fn name(&self) -> &'static str {
        self.work.subscription.name
    }

    /// Works until it is told to stop.
    pub(crate) async fn until_stopped(mut self, mut views: watch::Receiver<View>, mut stopping: watch::Receiver<bool>) {
        let mut failures = 0u32;
        while !*stopping.borrow() {
            let view = views.borrow_and_update().clone();
            let wait = match self.round(&view).await {
                Ok(wait) => {
                    failures = 0;
                    wait
                }
                Err(error) => {
                    tracing::warn!(subscription = self.name(), error = %error, "a subscription waits");
                    failures += 1;
                    self.scan = None;
                    LOOK.saturating_mul(1 << failures.min(5))
                }
            };
            let under_way = !self.flights.is_empty();
            tokio::select! {
                () = stopped(&mut stopping) => {}
                Some(landed) = self.flights.next(), if under_way => self.land(landed),
                changed = views.changed(), if failures == 0 => if changed.is_err() { break },
                () = tokio::time::sleep(wait) => {}
            }
        }
        while let Some(landed) = self.flights.next().await {
            self.land(landed);
        }
        if let Err(error) = self.move_mark().await {
            tracing::debug!(subscription = self.name(), error = %error, "a mark stays behind; nothing is lost");
        }
    }

    /// Works until nothing is left, whoever holds the lease; says how many events it dealt with.
    pub(crate) async fn until_idle(mut self) -> Result<u64> {
        loop {
            let view = self.inner.look().await?;
            self.load(&view).await?;
            self.read_on(&view).await?;
            self.launch();
            while let Some(landed) = self.flights.next().await {
                if let Ok((_, Err(_))) = &landed {
                    // The others end before it is said that something failed.
                    while self.flights.next().await.is_some() {}
                    let (_, failed) = landed.expect("matched");
                    return failed.map(|_| 0);
                }
                self.land(landed);
                self.launch();
            }
            let Some(scan) = &self.scan else { continue };
            if scan.is_empty() && scan.read >= view.last {
                self.move_mark().await?;
                return Ok(self.done);
            }
        }
    }

    /// Does what can be done now; says how long to wait for more.
    async fn round(&mut self, view: &View) -> Result<Duration> {
        self.load(view).await?;
        // Without a scan, something from before a replay is still under way.
        let Some(scan) = &self.scan else { return Ok(LOOK) };
        if scan.read >= view.last && scan.is_empty() {
            self.watched.1 = Instant::now();
        } else if !self.may_work(view).await? {
            self.scan = None;
            return Ok(LOOK);
        }
        self.read_on(view).await?;
        self.launch();
        let Some(scan) = &self.scan else { return Ok(LOOK) };
        let more = scan.read < view.last && scan.has_room();
        let position = scan.done();
        self.work.counts.position.store(position, Ordering::Relaxed);
        if position > self.mark && self.marked.elapsed() >= MARK {
            self.move_mark().await?;
        }
        let Some(scan) = &self.scan else { return Ok(Duration::ZERO) };
        let mut wait = if more { Duration::ZERO } else { COUNT_ON };
        if let Some(end) = scan.next_pause_end() {
            wait = wait.min(end.saturating_duration_since(Instant::now()));
        }
        if position > self.mark {
            wait = wait.min(MARK.saturating_sub(self.marked.elapsed()));
        }
        // Never a busy loop, whatever was miscounted.
        Ok(wait.max(Duration::from_millis(1)))
    }

    /// Starts at the mark, when this is the first round or a replay has begun.
    async fn load(&mut self, view: &View) -> Result<()> {
        let name = self.name();
        let seen = view.marks.get(name).map(|mark| mark.generation);
        if self.scan.is_some() && seen.is_none_or(|generation| generation <= self.generation) {
            return Ok(());
        }
        self.scan = None;
        if !self.flights.is_empty() {
            return Ok(());
        }
        let subscription = &self.work.subscription;
        let first = if subscription.from_now { store::log_state(&self.inner.store).await?.last } else { 0 };
        let mark = marks::load(&self.inner.store, name, first).await?;
        let select = cursor::Entity::find()
            .filter(cursor::Column::Subscription.eq(name))
            .filter(cursor::Column::Position.gt(mark.position));
        let system = self.inner.store.system_read(Purpose::Dispatch).await?;
        let cursors = system.all(select).await?;
        system.close().await?;
        // A replay between the two reads bumps the generation, which the transactions notice.
        let passed = cursors.into_iter().map(|cursor| (cursor.tenant_id, cursor.position)).collect();
        (self.generation, self.mark) = (mark.generation, mark.position);
        self.work.counts.position.store(mark.position, Ordering::Relaxed);
        self.scan = Some(Scan::at(mark.position, passed));
        Ok(())
    }

    /// Says whether this process is to work on it: not while another one does.
    async fn may_work(&mut self, view: &View) -> Result<bool> {
        if self.inner.store.engine() == Engine::Sqlite {
            return Ok(true);
        }
        let (name, process, now) = (self.name(), &self.inner.process, self.inner.store.clock().now());
        if self.lease_until > now.plus(marks::LEASE / 2) {
            return Ok(true);
        }
        let held = view.marks.get(name).filter(|mark| mark.lease_holder.as_ref().is_some_and(|held| held != process));
        let held = held.filter(|mark| mark.lease_until > now);
        let mut force = false;
        if let Some(mark) = held {
            if self.watched.0 != mark.position {
                self.watched = (mark.position, Instant::now());
            }
            force = view.last > mark.position && self.watched.1.elapsed() >= STUCK;
            if !force {
                return Ok(false);
            }
        }
        let until = marks::claim(&self.inner.store, name, process, force).await?;
        self.lease_until = until.unwrap_or(Timestamp(0));
        self.watched.1 = Instant::now();
        Ok(until.is_some())
    }

    async fn read_on(&mut self, view: &View) -> Result<()> {
        let kinds = self.work.subscription.kinds.list();
        for _ in 0..PAGES {
            let Some(scan) = self.scan.as_mut().filter(|scan| scan.read < view.last && scan.has_room()) else { break };
            let (page, upto) = if scan.read >= view.from {
                let fresh = view.newest.iter().filter(|event| event.position > Some(scan.read));
                let wanted = fresh.filter(|event| kinds.is_none_or(|kinds| kinds.contains(&event.kind.as_str())));
                (wanted.map(|event| EventRow::clone(event)).collect(), view.last)
            } else {
                let page = store::events_after(&self.inner.store, scan.read, kinds, PAGE).await?;
                let end = page.last().and_then(|event| event.position).unwrap_or(view.last);
                // A short page was all there is up to what was seen before it was read.
                let upto = if page.len() as u64 == PAGE { end } else { end.max(view.last) };
                (page, upto)
            };
            scan.take_in(page, upto);
            self.launch();
        }
        Ok(())
    }

    fn launch(&mut self) {
        let Some(scan) = &mut self.scan else { return };
        while self.flights.len() < UNDER_WAY
            && let Some(turn) = scan.next_turn()
        {
            self.flights.push(tokio::spawn(fly(self.inner.clone(), self.work.clone(), self.generation, turn)));
        }
    }

    fn land(&mut self, landed: Result<(Landed, Result<Applied>), JoinError>) {
        let Ok((landed, result)) = landed else {
            tracing::error!(subscription = self.name(), "a subscription starts anew: its task failed");
            self.scan = None;
            return;
        };
        match &result {
            Ok(applied) if applied.stale => {
                self.scan = None;
                return;
            }
            Ok(applied) => {
                self.work.counts.add(applied.applied, applied.failed);
                self.done += applied.applied + applied.failed;
                if applied.failed > 0 {
                    self.inner.set_aside.notify_one();
                }
            }
            Err(error) => tracing::warn!(
                subscription = self.name(), tenant.id = %landed.tenant, error = %error, "a tenant's events wait"
            ),
        }
        if let Some(scan) = &mut self.scan {
            scan.land(landed);
        }
    }

    async fn move_mark(&mut self) -> Result<()> {
        let Some(position) = self.scan.as_ref().map(Scan::done).filter(|done| *done > self.mark) else { return Ok(()) };
        fault::point_at("consume.before_mark", self.name()).await?;
        self.marked = Instant::now();
        if marks::advance(&self.inner.store, self.name(), self.generation, position).await? {
            self.mark = position;
        } else {
            self.scan = None;
        }
        Ok(())
    }
}

/// How long a subscription with nothing to do sleeps when nobody wakes it.
const COUNT_ON: Duration = Duration::from_secs(5);

/// Deals with some events of one tenant.
async fn fly(inner: Arc<Inner>, work: Arc<Work>, generation: i64, turn: Turn) -> (Landed, Result<Applied>) {
    let Turn { tenant, mut events, refill } = turn;
    let mut refilled = None;
    if let Some((after, upto)) = refill {
        let (kinds, limit) = (work.subscription.kinds.list(), CHUNK);
        match store::tenant_events_after(&inner.store, tenant, after, kinds, limit as u64).await {
            Ok(found) => {
                let full = found.len() == limit;
                events = found.into_iter().filter(|event| event.position <= Some(upto)).collect();
                let more = full && events.len() == limit;
                let ended = events.last().and_then(|event| event.position).filter(|_| more).unwrap_or(upto);
                refilled = Some((more, ended));
            }
            Err(error) => return (Landed { tenant, rest: events, refilled: None, failed: true }, Err(error)),
        }
    }
    if events.is_empty() {
        return (Landed { tenant, rest: events, refilled, failed: false }, Ok(Applied::default()));
    }
    let _permit = inner.permits.acquire().await;
    let budget = Duration::from_millis(if inner.store.engine() == Engine::Sqlite { 100 } else { 200 });
    let chunk = Chunk { store: &inner.store, subscription: &work.subscription, tenant, generation, budget };
    let result = chunk.deal(&events).await;
    let (upto, failed) = result.as_ref().map_or((0, true), |applied| (applied.upto, false));
    let rest = events.into_iter().filter(|event| event.position > Some(upto)).collect();
    (Landed { tenant, rest, refilled, failed }, result)
}
