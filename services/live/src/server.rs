//! The one server of a process: its engine, its sockets and what they need. Not for what any of
//! its parts does.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engineioxide::DisconnectReason;
use engineioxide::config::EngineIoConfig;
use engineioxide::service::EngineIoService;
use engineioxide::socket::Sid;
use kernel::Timestamp;
use service::App;
use tokio::sync::Semaphore;
use web::ClientAddress;

use crate::handler::Handler;
use crate::rooms::Rooms;
use crate::session::{EngineSocket, QUEUE, Session};
use crate::wire::Wires;
use crate::{BODY_LIMIT, attend, follow};

/// How long a socket may take to say who it is.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How many sockets may be about to say who they are.
const WAITING: usize = 4_096;
/// How many of them may be from one network, so that one client cannot lock out the others.
const WAITING_OF_ONE: usize = 64;
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
    waiting: Mutex<HashMap<Sid, Waiting>>,
}

/// A socket that has not said yet who it is.
struct Waiting {
    opened: Timestamp,
    network: Option<IpAddr>,
    socket: Arc<EngineSocket>,
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

    fn waiting(&self) -> MutexGuard<'_, HashMap<Sid, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether another socket may open from there; those that come from nobody knows where count as one.
    pub(crate) fn has_room(&self, client: Option<ClientAddress>) -> bool {
        has_room(&self.waiting(), client.map(network))
    }

    /// Notes a socket that has not said yet who it is; one that came in beside too many others goes.
    pub(crate) fn opened(&self, socket: Arc<EngineSocket>) {
        let opened = self.app.now();
        let network = socket.req_parts.extensions.get::<ClientAddress>().copied().map(network);
        {
            let mut waiting = self.waiting();
            if has_room(&waiting, network) {
                waiting.insert(socket.id, Waiting { opened, network, socket });
                return;
            }
        }
        socket.data.end();
        socket.close(DisconnectReason::TransportClose);
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
        let late: Vec<_> = self.waiting().extract_if(|_, waiting| late(waiting.opened)).collect();
        for (_, Waiting { socket, .. }) in late {
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

fn has_room(waiting: &HashMap<Sid, Waiting>, network: Option<IpAddr>) -> bool {
    // Counted anew each time: no number of its own could be left behind by a socket that went.
    waiting.len() < WAITING && waiting.values().filter(|other| other.network == network).count() < WAITING_OF_ONE
}

/// Returns the part of an address that one customer of a provider has: an IPv4 address, an IPv6 /64.
fn network(ClientAddress(address): ClientAddress) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(long) => {
            let [a, b, c, d, ..] = long.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        short => short,
    }
}
