//! What every handler can reach. Not a place for globals: a service's own settings travel in its
//! own closures.

use std::sync::Arc;

use events::Hub;
use kernel::{Clock, Timestamp};
use store::Store;
use web::{Authenticate, Connections};

use crate::features::Features;
use crate::peers::Peers;

/// What lives as long as a connection does: streams and sockets stand on it.
#[derive(Clone)]
pub struct Live {
    /// Hands out each event of the log as it comes.
    pub hub: Hub,
    /// The open connections, which a revocation closes.
    pub connections: Connections,
    /// Checks the token that a socket brings in its first message.
    pub authenticate: Arc<dyn Authenticate>,
}

/// The state of a running service.
#[derive(Clone)]
pub struct App {
    /// The data.
    pub store: Store,
    /// The live side.
    pub live: Live,
    /// The switches that operations stand behind.
    pub features: Arc<dyn Features>,
    /// The other services.
    pub peers: Peers,
}

impl App {
    /// Returns the moment it is now.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Clock {
        self.store.clock()
    }
}
