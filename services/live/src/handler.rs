//! What the engine tells: a socket has opened, said something, gone. Says which packets are allowed
//! when, and hands them on. Not for what they mean.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use engineioxide::handler::EngineIoHandler;
use engineioxide::{DisconnectReason, Str};

use crate::packet::{self, Packet};
use crate::server::Server;
use crate::session::{EngineSocket, Session};
use crate::{connect, refresh};

/// How often a socket may try to say who it is.
const TRIES: u8 = 3;

/// How far a socket has come.
#[derive(Debug)]
enum Stage {
    /// It has not said who it is, but has tried so often.
    Waiting(u8),
    /// What it said is being checked.
    Checking(u8),
    /// It is in.
    Open(Arc<Session>),
    /// It has gone, or has to go.
    Ended,
}

/// What is kept with a socket of the engine.
#[derive(Debug)]
pub(crate) struct Slot(Mutex<Stage>);

impl Default for Slot {
    fn default() -> Self {
        Self(Mutex::new(Stage::Waiting(0)))
    }
}

impl Slot {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<Arc<Session>> {
        match &*self.stage() {
            Stage::Open(session) => Some(session.clone()),
            _ => None,
        }
    }

    /// Lets the client in; says no when it has gone meanwhile.
    pub(crate) fn open(&self, session: Arc<Session>) -> bool {
        let mut stage = self.stage();
        let checking = matches!(*stage, Stage::Checking(_));
        if checking {
            *stage = Stage::Open(session);
        }
        checking
    }

    /// Turns the client away; says whether it may try again.
    pub(crate) fn refuse(&self) -> bool {
        let mut stage = self.stage();
        match *stage {
            Stage::Checking(tries) => {
                *stage = Stage::Waiting(tries);
                tries < TRIES
            }
            _ => true,
        }
    }

    /// Lets go of the session, if there is one.
    pub(crate) fn end(&self) -> Option<Arc<Session>> {
        match std::mem::replace(&mut *self.stage(), Stage::Ended) {
            Stage::Open(session) => Some(session),
            _ => None,
        }
    }
}

/// Hears the engine.
pub(crate) struct Handler(Weak<Server>);

impl Handler {
    pub(crate) fn new(server: Weak<Server>) -> Self {
        Self(server)
    }

    fn connect(&self, socket: &Arc<EngineSocket>, namespace: &str, auth: &str) {
        if !Packet::is_root(namespace) {
            let refused = packet::refused(namespace, "live.no_namespace", "there is no such namespace");
            let _ = socket.emit(refused);
            return;
        }
        {
            let mut stage = socket.data.stage();
            let Stage::Waiting(tries) = *stage else { return };
            *stage = Stage::Checking(tries + 1);
        }
        if let Some(server) = self.0.upgrade() {
            tokio::spawn(connect::connect(server, socket.clone(), auth.to_owned()));
        }
    }

    fn event(&self, socket: &EngineSocket, ack: Option<u64>, arguments: &str) {
        let (Some(server), Some(session)) = (self.0.upgrade(), socket.data.session()) else {
            // Before it has said who it is, nothing else is listened to.
            socket.close(DisconnectReason::PacketParsingError);
            return;
        };
        if let Some(token) = refresh::wanted(arguments) {
            tokio::spawn(refresh::refresh(server, session, token, ack));
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

impl EngineIoHandler for Handler {
    type Data = Slot;

    fn on_connect(self: Arc<Self>, socket: Arc<EngineSocket>) {
        if let Some(server) = self.0.upgrade() {
            server.opened(socket);
        }
    }

    fn on_disconnect(&self, socket: Arc<EngineSocket>, _: DisconnectReason) {
        let session = socket.data.end();
        if let Some(server) = self.0.upgrade() {
            server.settled(socket.id);
            if let Some(session) = session {
                server.end(&session);
            }
        }
    }

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<EngineSocket>) {
        match Packet::parse(message.as_str()) {
            Some(Packet::Connect { namespace, auth }) => self.connect(&socket, namespace, auth),
            Some(Packet::Event { ack, arguments }) => self.event(&socket, ack, arguments),
            Some(Packet::Ack) => {}
            Some(Packet::Disconnect) => socket.close(DisconnectReason::TransportClose),
            None => socket.close(DisconnectReason::PacketParsingError),
        }
    }

    fn on_binary(self: &Arc<Self>, _: Bytes, socket: Arc<EngineSocket>) {
        socket.close(DisconnectReason::PacketParsingError);
    }
}
