//! The one server of a process: its engine, its sockets and what they need. Not for what any of
//! its parts does.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engineioxide::DisconnectReason;
use engineioxide::config::EngineIoConfig;
use engineioxide::service::EngineIoService;
use engineioxide::socket::Sid;
use kernel::Timestamp;
use service::App;
use tokio::sync::Semaphore;

use crate::handler::Handler;
use crate::rooms::Rooms;
use crate::session::{EngineSocket, QUEUE, Session};
use crate::wire::Wires;
use crate::{BODY_LIMIT, attend, follow};

/// How long a socket may take to say who it is.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How many sockets may be about to say who they are.
const WAITING: usize = 4_096;
/// How often a client is asked whether it is there; a poll ends with it at the latest, within the
/// door's time for an answer.
const PING: Duration = Duration::from_secs(25);
/// How long a client may take to say that it is.
const PONG: Duration = Duration::from_secs(20);
/// The most that one poll brings. Larger than what a queue holds: a packet that is put off to the
/// next poll would be lost if the client upgraded in between.
const POLL_LIMIT: u64 = 64 << 20;
/// How many clients read at a time what they missed.
const REPLAYS: usize = 16;

/// The server.
pub(crate) struct Server {
    pub app: App,
    pub wires: Arc<Wires>,
    pub rooms: Rooms,
    pub replays: Semaphore,
    pub engine: EngineIoService<Handler>,
    waiting: Mutex<HashMap<Sid, (Timestamp, Arc<EngineSocket>)>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Starts the server, which follows the log from here on.
    pub(crate) fn start(app: App, wires: Arc<Wires>) -> Arc<Self> {
        let feed = app.live.hub.join(None);
        let config = EngineIoConfig::builder()
            .req_path("/socket.io")
            .ping_interval(PING)
            .ping_timeout(PONG)
            .max_buffer_size(QUEUE)
            .max_payload(POLL_LIMIT)
            .ws_read_buffer_size(1_024)
            .ws_max_message_size(BODY_LIMIT)
            .ws_max_frame_size(BODY_LIMIT)
            .build();
        let server = Arc::new_cyclic(|server| Self {
            app,
            wires,
            rooms: Rooms::at(feed.from),
            replays: Semaphore::new(REPLAYS),
            // The engine keeps its handler alive, and sockets their engine: a weak handler lets go of the data.
            engine: EngineIoService::with_config(Arc::new(Handler::new(server.clone())), config),
            waiting: Mutex::default(),
        });
        tokio::spawn(follow::follow(Arc::downgrade(&server), feed));
        tokio::spawn(attend::attend(Arc::downgrade(&server)));
        server
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Sid, (Timestamp, Arc<EngineSocket>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether another socket may open.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting().len() < WAITING
    }

    /// Notes a socket that has not said yet who it is.
    pub(crate) fn opened(&self, socket: Arc<EngineSocket>) {
        let now = self.app.now();
        self.waiting().insert(socket.id, (now, socket));
    }

    /// Forgets a socket that has said who it is, or has gone.
    pub(crate) fn settled(&self, sid: Sid) {
        self.waiting().remove(&sid);
    }

    /// Says whether the process is stopping: nobody is let in any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.app.live.connections.is_closing()
    }

    /// Closes the sockets that have not said in time who they are.
    pub(crate) fn close_silent(&self, now: Timestamp) {
        let closing = self.is_closing();
        let late = |opened: Timestamp| closing || opened.plus(CONNECT_LIMIT) < now;
        let late: Vec<_> = self.waiting().extract_if(|_, (opened, _)| late(*opened)).collect();
        for (_, (_, socket)) in late {
            socket.data.end();
            socket.close(DisconnectReason::TransportClose);
        }
    }

    /// Ends a session; its client may connect again.
    pub(crate) fn end(&self, session: &Session) {
        if session.end() {
            self.rooms.leave(session);
            session.close();
        }
    }
}
