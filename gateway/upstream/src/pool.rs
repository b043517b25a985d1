//! One core's connections to one server: idle ones last in, first out; no more than allowed; whoever finds
//! none waits in turn. Not for opening connections, and not for requests.
//!
//! It stands behind a mutex although one core uses it, because an answer's body must be `Send` and gives
//! its connection back from wherever it ends. Nobody else ever waits for that lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::alarm::Alarm;
use crate::lease::{Lease, Link, Stream};
use crate::member::{Member, Speaks};
use crate::outgoing::Outgoing;
use crate::place::{Checkout, Given, Limits, Place};
use crate::sent::Sent;
use crate::uploads::{Sender, Uploading, Uploads};

/// One core's connections to one server.
pub(crate) struct Pool {
    pub member: Arc<Member>,
    limits: Limits,
    uploads: Arc<Uploads>,
    state: Mutex<State>,
    connections: Gauge,
    waiting: Gauge,
}

#[derive(Default)]
struct State {
    idle: VecDeque<Link>,
    shared: Vec<Shared>,
    open: usize,
    dialing: usize,
    waiters: VecDeque<oneshot::Sender<Given>>,
    alarms: Vec<Alarm>,
    next_id: u64,
    reaping: bool,
}

/// An HTTP/2 connection.
struct Shared {
    id: u64,
    sender: http2::SendRequest<Outgoing>,
    streams: usize,
    /// How many the server allows at the moment.
    allowed: Arc<AtomicUsize>,
    used: u64,
    idle_since: Instant,
}

impl Pool {
    pub(crate) fn new(member: Arc<Member>, limits: Limits, connections: Gauge, waiting: Gauge) -> Arc<Self> {
        Arc::new(Self { member, limits, uploads: Arc::default(), state: Mutex::default(), connections, waiting })
    }

    /// Counts an upload among those of its sender; none when that has its share of the connections.
    pub(crate) fn upload(&self, sender: Sender) -> Option<Uploading> {
        let streams = if self.member.speaks() == Speaks::Http2 { self.limits.streams } else { 1 };
        self.uploads.enter(sender, self.limits.uploads.saturating_mul(streams))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a connection, the right to open one, or a place in the queue. `fresh` wants a new one: for a
    /// change of protocol, or because a pooled one was found dead.
    pub(crate) fn checkout(self: &Arc<Self>, now: Instant, fresh: bool) -> Checkout {
        let mut state = self.lock();
        if !fresh {
            if let Some(lease) = self.stream(&mut state, now) {
                return Checkout::Ready(lease);
            }
            while let Some(link) = state.idle.pop_back() {
                if link.sender.is_ready() && now < link.idle_since + self.limits.idle {
                    let alarm = state.alarms.pop();
                    return Checkout::Ready(Lease::link(self.clone(), link, alarm, true));
                }
            }
            // One connection tells what the server speaks, or carries many: the others wait for it.
            if state.dialing > 0 && self.member.speaks() != Speaks::Http1 {
                return self.wait(&mut state);
            }
        }
        if state.open < self.limits.connections {
            return Checkout::Dial(self.place(&mut state));
        }
        if fresh {
            // At the limit an idle connection makes room: its end serves the queue.
            state.idle.pop_front();
        }
        self.wait(&mut state)
    }

    fn wait(&self, state: &mut State) -> Checkout {
        if state.waiters.len() >= self.limits.queue {
            state.waiters.retain(|waiter| !waiter.is_closed());
            if state.waiters.len() >= self.limits.queue {
                return Checkout::Full;
            }
        }
        let (sender, receiver) = oneshot::channel();
        state.waiters.push_back(sender);
        self.waiting.inc();
        Checkout::Wait(receiver)
    }

    /// Says that one waits no longer.
    pub(crate) fn waited(&self) {
        self.waiting.dec();
    }

    fn place(self: &Arc<Self>, state: &mut State) -> Place {
        state.open += 1;
        state.dialing += 1;
        state.next_id += 1;
        self.connections.inc();
        Place::new(self.clone(), state.next_id)
    }

    /// Frees the place of a connection that ended, or of one that did not come about (`failed`).
    pub(crate) fn free(self: &Arc<Self>, id: u64, failed: bool) {
        let mut state = self.lock();
        state.open -= 1;
        self.connections.dec();
        if failed {
            state.dialing -= 1;
        }
        state.idle.retain(|link| link.id != id);
        state.shared.retain(|shared| shared.id != id);
        self.serve(&mut state, failed);
    }

    fn stream(self: &Arc<Self>, state: &mut State, now: Instant) -> Option<Lease> {
        let most = self.limits.streams;
        let shared = state.shared.iter_mut().find(|shared| {
            !shared.sender.is_closed() && shared.streams < most.min(shared.allowed.load(Ordering::Relaxed))
        })?;
        shared.streams += 1;
        shared.used += 1;
        shared.idle_since = now;
        let (id, sender) = (shared.id, shared.sender.clone());
        let reused = shared.used > 1;
        if self.limits.requests > 0 && shared.used >= self.limits.requests {
            // The streams on it keep it open; nobody new gets it.
            state.shared.retain(|shared| shared.id != id);
        }
        Some(Lease::stream(self.clone(), Stream { id, sender }, state.alarms.pop(), reused))
    }

    /// Takes in an HTTP/1.1 connection that was just opened, for the request that opened it.
    pub(crate) fn opened(
        self: &Arc<Self>,
        id: u64,
        sender: http1::SendRequest<Outgoing>,
        task: AbortHandle,
        sent: Arc<Sent>,
        now: Instant,
    ) -> Lease {
        let mut state = self.lock();
        self.dialed(&mut state);
        let link = Link { id, sender, used: 0, idle_since: now, sent, task };
        Lease::link(self.clone(), link, state.alarms.pop(), false)
    }

    /// Notes that a connection was opened that never comes back.
    pub(crate) fn opened_alone(self: &Arc<Self>) {
        self.dialed(&mut self.lock());
    }

    /// Takes in an HTTP/2 connection that was just opened; the first place is for who opened it.
    pub(crate) fn shared(
        self: &Arc<Self>,
        id: u64,
        sender: http2::SendRequest<Outgoing>,
        allowed: Arc<AtomicUsize>,
        now: Instant,
    ) -> Lease {
        let mut state = self.lock();
        let own = sender.clone();
        state.shared.push(Shared { id, sender, streams: 1, allowed, used: 1, idle_since: now });
        self.dialed(&mut state);
        Lease::stream(self.clone(), Stream { id, sender: own }, state.alarms.pop(), false)
    }

    /// One that was being opened is open: who waited for what it tells goes on.
    fn dialed(self: &Arc<Self>, state: &mut State) {
        state.dialing = state.dialing.saturating_sub(1);
        self.serve(state, false);
    }

    /// Gives waiters what there is. After an opening that `failed` they all try for themselves.
    fn serve(self: &Arc<Self>, state: &mut State, failed: bool) {
        while let Some(waiter) = state.waiters.pop_front() {
            if waiter.is_closed() {
                continue;
            }
            let given = if let Some(lease) = self.stream(state, Instant::now()) {
                Given::Stream(lease)
            } else if let Some(link) = state.idle.pop_back() {
                Given::Link(link)
            } else if state.open < self.limits.connections
                && (failed || state.dialing == 0 || self.member.speaks() == Speaks::Http1)
            {
                Given::Place(self.place(state))
            } else {
                state.waiters.push_front(waiter);
                return;
            };
            // What a waiter that just left does not take would lock this pool again when it is dropped.
            if let Err(given) = waiter.send(given) {
                match given {
                    Given::Link(link) => state.idle.push_back(link),
                    Given::Stream(mut lease) => {
                        if let Some(id) = lease.forget_stream() {
                            state.end_stream(id);
                        }
                    }
                    Given::Place(place) => {
                        place.forget();
                        state.open -= 1;
                        state.dialing -= 1;
                        self.connections.dec();
                    }
                }
            }
        }
    }

    /// Takes an HTTP/1.1 connection back.
    pub(crate) fn give_back(self: &Arc<Self>, mut link: Link, alarm: Option<Alarm>, now: Instant) {
        link.used += 1;
        link.idle_since = now;
        let worn = self.limits.requests > 0 && link.used >= self.limits.requests;
        let kept = !worn && !link.sender.is_closed() && !self.member.retired.load(Ordering::Relaxed);
        let mut state = self.lock();
        state.alarms.extend(alarm);
        if kept {
            state.idle.push_back(link);
            if !state.waiters.is_empty() {
                self.serve(&mut state, false);
            }
        }
    }

    /// Takes a place on an HTTP/2 connection back.
    pub(crate) fn end_stream(self: &Arc<Self>, id: u64, alarm: Option<Alarm>, now: Instant) {
        let mut state = self.lock();
        state.alarms.extend(alarm);
        state.end_stream(id);
        if let Some(shared) = state.shared.iter_mut().find(|shared| shared.id == id) {
            shared.idle_since = now;
        }
        if !state.waiters.is_empty() {
            self.serve(&mut state, false);
        }
    }

    /// Keeps a timer whose connection is gone.
    pub(crate) fn keep_alarm(&self, alarm: Alarm) {
        self.lock().alarms.push(alarm);
    }

    /// Says whether idle connections must be watched; the caller then starts [`Pool::reap`].
    pub(crate) fn starts_reaping(&self) -> bool {
        !std::mem::replace(&mut self.lock().reaping, true)
    }

    /// Closes connections that were idle too long, until there are none.
    pub(crate) async fn reap(self: Arc<Self>) {
        let pause = (self.limits.idle / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
        loop {
            tokio::time::sleep(pause).await;
            let now = Instant::now();
            let retired = self.member.retired.load(Ordering::Relaxed);
            let mut state = self.lock();
            while state.idle.front().is_some_and(|link| retired || now >= link.idle_since + self.limits.idle) {
                state.idle.pop_front();
            }
            let idle = self.limits.idle;
            state.shared.retain(|shared| shared.streams > 0 || !(retired || now >= shared.idle_since + idle));
            let needed = state.idle.len() + state.shared.iter().map(|shared| shared.streams).sum::<usize>() + 1;
            state.alarms.truncate(needed);
            if state.open == 0 && state.waiters.is_empty() {
                state.reaping = false;
                return;
            }
        }
    }
}

impl State {
    fn end_stream(&mut self, id: u64) {
        if let Some(shared) = self.shared.iter_mut().find(|shared| shared.id == id) {
            shared.streams = shared.streams.saturating_sub(1);
        }
    }
}
