//! What every handler can reach. Not a place for globals: a service's own settings travel in its
//! own closures.

use kernel::{Clock, Timestamp};
use store::Store;

/// The state of a running service.
#[derive(Clone)]
pub struct App {
    /// The data.
    pub store: Store,
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
