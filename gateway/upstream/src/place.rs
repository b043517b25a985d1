//! What a pool may hold and what it gives: a connection, a place for one, or a wait. Not for connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::lease::{Lease, Link};
use crate::pool::Pool;

/// How much a pool may hold.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections of this core to this server.
    pub connections: usize,
    /// Of them for one sender's uploads.
    pub uploads: usize,
    pub queue: usize,
    pub idle: Duration,
    pub requests: u64,
    pub streams: usize,
}

/// What a waiter gets.
pub(crate) enum Given {
    /// A connection that is free again.
    Link(Link),
    /// A place on a shared connection.
    Stream(Lease),
    /// The right to open one.
    Place(Place),
}

/// What there is for a request.
pub(crate) enum Checkout {
    Ready(Lease),
    Dial(Place),
    Wait(oneshot::Receiver<Given>),
    Full,
}

/// One connection's place, from its opening to its end: dropping it frees the place.
pub(crate) struct Place {
    pool: Option<Arc<Pool>>,
    pub id: u64,
    /// Whether the connection is still being opened.
    dialing: bool,
}

impl Place {
    pub(crate) fn new(pool: Arc<Pool>, id: u64) -> Self {
        Self { pool: Some(pool), id, dialing: true }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        self.pool.as_ref().expect("a place has its pool until it is forgotten, which consumes it")
    }

    /// The connection is open; from now on the place only counts it.
    pub(crate) fn dialed(&mut self) {
        self.dialing = false;
    }

    /// Drops it without freeing anything: whoever has the pool's lock does that.
    pub(crate) fn forget(mut self) {
        self.pool = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.free(self.id, self.dialing);
        }
    }
}
