//! A server that is compared, Portico or a peer, and who visits it. Not for measuring.

use std::net::SocketAddr;

use super::peer::{Peer, Peers};
use super::speech::{Speech, Visitor};
use crate::Outcome;
use crate::people::People;
use crate::server::Server;

/// What is compared: the name in the tables, what is spoken and where, and the peer's script.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub speech: Speech,
    path: &'static str,
    pub script: Option<&'static str>,
}

const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=websocket";

pub const STREAM: Kind = kind("Portico, `/api/events/stream`", Speech::Stream, "/api/events/stream", None);
pub const NODE_STREAM: Kind = kind("`node:http`, event stream", Speech::Stream, "/", Some("sse.mjs"));
pub const SOCKET: Kind = kind("Portico, `/api/notifications/ws`", Speech::WebSocket, "/api/notifications/ws", None);
pub const NODE_SOCKET: Kind = kind("npm's `ws`", Speech::WebSocket, "/", Some("sockets.mjs"));
pub const SOCKETIO: Kind = kind("Portico, `/socket.io/`", Speech::SocketIo, SOCKET_IO, None);
pub const NODE_SOCKETIO: Kind = kind("npm's `socket.io`", Speech::SocketIo, SOCKET_IO, Some("socketio.mjs"));

const fn kind(name: &'static str, speech: Speech, path: &'static str, script: Option<&'static str>) -> Kind {
    Kind { name, speech, path, script }
}

/// A running one.
pub enum Side {
    Portico(Server),
    Peer(Peer),
}

impl Kind {
    /// Starts it; nothing where the peers are not installed.
    pub fn start(&self, people: &People, peers: Option<&Peers>) -> Outcome<Option<Side>> {
        match self.script {
            None => Ok(Some(Side::Portico(Server::start(people.url())?))),
            Some(script) => peers.map(|peers| peers.start(script).map(Side::Peer)).transpose(),
        }
    }

    /// Returns visitors, each with the next of the tokens.
    pub fn visitors(&self, tokens: &[String], count: usize) -> Vec<Visitor> {
        let tokens = tokens.iter().cycle().take(count);
        tokens.map(|token| Visitor::new(self.speech, self.path, Some(token))).collect()
    }
}

impl Side {
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Portico(server) => server.address(),
            Self::Peer(peer) => peer.address(),
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Portico(server) => server.pid(),
            Self::Peer(peer) => peer.pid(),
        }
    }

    /// Returns the warnings in Portico's log.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Portico(server) => server.warnings(),
            Self::Peer(_) => Vec::new(),
        }
    }
}
