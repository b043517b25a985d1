//! One connected client: who it is, until when, and what is on its way to it. A client that reads
//! too slowly misses events and is told so; it never makes others wait. Not for rooms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use engineioxide::socket::Sid;
use engineioxide::{DisconnectReason, Socket, Str};
use kernel::{TenantId, Timestamp};
use tokio::task::AbortHandle;
use web::{Connection, Principal, Verified};

use crate::handler::Slot;
use crate::rooms::Room;

/// A socket of the engine.
pub(crate) type EngineSocket = Socket<Slot>;

/// How many packets wait for a client before it counts as too slow.
pub(crate) const QUEUE: usize = 128;
/// How many events wait for a client that is still being told what it missed.
const HELD: usize = 1_000;
/// How long a client may be too slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often room in a queue is looked for.
const GLANCE: Duration = Duration::from_millis(20);

/// An event on its way to a client.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub position: i64,
    pub text: Str,
}

/// What comes after what a client has.
#[derive(Debug)]
enum Tail {
    /// The client is still being told what it missed; this waits.
    Held(Vec<Frame>),
    /// Everything after this position goes out as it comes.
    Live(i64),
    /// The client was too slow and has missed what there was up to this position.
    Lagging { since: Instant, position: i64 },
}

/// How slow a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It keeps up, or may still catch up.
    Good,
    /// It has not, for too long.
    Hopeless,
}

#[derive(Debug)]
struct Caller {
    principal: Arc<Principal>,
    until: Timestamp,
    rooms: Vec<Room>,
    warned: bool,
}

/// One connected client.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose data it may see.
    pub tenant: TenantId,
    /// Closed when the credential is revoked.
    pub connection: Connection,
    /// Whether a new token is being checked.
    pub refreshing: AtomicBool,
    socket: Arc<EngineSocket>,
    caller: Mutex<Caller>,
    tail: Mutex<Tail>,
    ended: AtomicBool,
    watcher: OnceLock<AbortHandle>,
}

impl Session {
    /// Returns a session that holds back what comes until it goes live.
    pub(crate) fn new(socket: Arc<EngineSocket>, verified: Verified, connection: Connection) -> Self {
        Self {
            tenant: verified.principal.tenant,
            connection,
            refreshing: AtomicBool::new(false),
            socket,
            caller: Mutex::new(Caller::new(verified)),
            tail: Mutex::new(Tail::Held(Vec::new())),
            ended: AtomicBool::new(false),
            watcher: OnceLock::new(),
        }
    }

    fn caller(&self) -> MutexGuard<'_, Caller> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sid(&self) -> Sid {
        self.socket.id
    }

    pub(crate) fn principal(&self) -> Arc<Principal> {
        self.caller().principal.clone()
    }

    pub(crate) fn rooms(&self) -> Vec<Room> {
        self.caller().rooms.clone()
    }

    /// Returns until when the credential is good; nothing where it has no end.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        let until = self.caller().until;
        (until != Timestamp(i64::MAX)).then_some(until)
    }

    /// Goes on under another credential.
    pub(crate) fn become_caller(&self, verified: Verified) {
        *self.caller() = Caller::new(verified);
    }

    /// Says, once for each credential, that it ends by itself before this moment.
    pub(crate) fn warns(&self, before: Timestamp) -> bool {
        let mut caller = self.caller();
        let due = caller.until <= before && !caller.warned;
        caller.warned |= due;
        due
    }

    /// Says whether the credential has ended by itself.
    pub(crate) fn expired(&self, now: Timestamp) -> bool {
        self.caller().until <= now
    }

    /// Puts a packet into the client's queue, unless it is full. The last place is left for the
    /// engine's ping: without it a slow client would count as a dead one.
    pub(crate) fn emit(&self, text: impl Into<Str>) -> bool {
        let Ok(_spare) = self.socket.reserve() else { return false };
        self.socket.reserve().map(|place| place.emit(text.into())).is_ok()
    }

    /// Puts a packet into the client's queue as soon as there is room; says no when the client has
    /// gone or is hopeless.
    pub(crate) async fn emit_when_roomy(&self, text: impl Into<Str>) -> bool {
        let (text, began) = (text.into(), Instant::now());
        while !self.emit(text.clone()) {
            if self.ended() || began.elapsed() > PATIENCE {
                return false;
            }
            tokio::time::sleep(GLANCE).await;
        }
        true
    }

    /// Takes an event that its rooms are told.
    pub(crate) fn deliver(&self, frame: Frame) {
        let mut tail = self.tail();
        let lagging = Tail::Lagging { since: Instant::now(), position: frame.position };
        match &mut *tail {
            Tail::Held(held) if held.len() < HELD => held.push(frame),
            Tail::Held(_) => *tail = lagging,
            Tail::Live(after) if frame.position <= *after => {}
            Tail::Live(_) => {
                if !self.emit(frame.text) {
                    *tail = lagging;
                }
            }
            Tail::Lagging { position, .. } => *position = frame.position,
        }
    }

    /// Sends what was held back and is newer than `after`, and goes live; says no when the client
    /// has gone or is hopeless.
    pub(crate) async fn go_live(&self, after: i64) -> bool {
        loop {
            let held = {
                let mut tail = self.tail();
                match &mut *tail {
                    Tail::Held(held) if held.is_empty() => {
                        *tail = Tail::Live(after);
                        return true;
                    }
                    Tail::Held(held) => std::mem::take(held),
                    // Too much came meanwhile: the attendant tells the client.
                    Tail::Live(_) | Tail::Lagging { .. } => return true,
                }
            };
            for frame in held.into_iter().filter(|frame| frame.position > after) {
                if !self.emit_when_roomy(frame.text).await {
                    return false;
                }
            }
        }
    }

    /// Looks whether the client keeps up. One that was too slow and has read half of what waited is
    /// told so, before anything else, and goes on from here.
    pub(crate) fn pace(&self, resync: impl FnOnce(i64) -> String) -> Pace {
        let mut tail = self.tail();
        let Tail::Lagging { since, position } = *tail else { return Pace::Good };
        let places: Vec<_> = (0..QUEUE / 2).map_while(|_| self.socket.reserve().ok()).collect();
        let roomy = places.len() == QUEUE / 2;
        drop(places);
        if roomy && self.emit(resync(position)) {
            *tail = Tail::Live(position);
        } else if since.elapsed() > PATIENCE {
            return Pace::Hopeless;
        }
        Pace::Good
    }

    /// Says whether it has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Says who waits for the connection's end.
    pub(crate) fn watched_by(&self, watcher: AbortHandle) {
        let _ = self.watcher.set(watcher);
    }

    /// Marks it as ended; says no when it was already.
    pub(crate) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::SeqCst)
    }

    /// Closes the transport: unlike being thrown out of the namespace, that lets clients connect
    /// again by themselves, with another token.
    pub(crate) fn close(&self) {
        self.socket.data.end();
        self.socket.close(DisconnectReason::ClosingServer);
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
    }
}

impl Caller {
    fn new(verified: Verified) -> Self {
        let rooms = Room::of(&verified.principal);
        Self { principal: verified.principal, until: verified.until, rooms, warned: false }
    }
}
