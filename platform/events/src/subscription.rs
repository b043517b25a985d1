//! A named reader of the log, as a service declares it. Not for running it: see `dispatcher`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kernel::Result;
use store::{EventRow, Writer};

/// Which events a subscription wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Those of these types.
    Of(&'static [&'static str]),
    /// All.
    All,
}

impl Kinds {
    /// Returns the types; nothing means all.
    pub fn list(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Of(kinds) => Some(kinds),
            Self::All => None,
        }
    }
}

/// Applies an event: what it changes, and that it was applied, are kept together or not at all.
pub trait Subscriber: Send + Sync + 'static {
    /// Applies one event in a transaction of the event's tenant. An error undoes it; the event comes
    /// again later, and what it is about waits for it.
    fn apply<'a, 'c: 'a>(&'a self, writer: &'a mut Writer<'c>, event: &'a EventRow) -> BoxFuture<'a, Result<()>>;
}

/// A named subscription.
#[derive(Clone)]
pub struct Subscription {
    /// Its name, unique in the installation, such as `webhooks.deliveries`.
    pub name: &'static str,
    /// Which events it wants.
    pub kinds: Kinds,
    /// Whether it may see events again from an earlier position, at an operator's word.
    pub replayable: bool,
    /// Whether it begins with what comes after its first start, instead of with all there is.
    pub from_now: bool,
    pub(crate) subscriber: Arc<dyn Subscriber>,
}

impl Subscription {
    /// Returns a subscription that may be replayed: applying an event again changes nothing.
    pub fn new(name: &'static str, kinds: Kinds, subscriber: impl Subscriber) -> Self {
        Self { name, kinds, replayable: true, from_now: false, subscriber: Arc::new(subscriber) }
    }

    /// Says that applying an event again would change something.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.replayable = false;
        self
    }

    /// Says that what is in the log when it first starts is none of its business.
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.from_now = true;
        self
    }

    /// Returns who applies the events.
    pub fn subscriber(&self) -> &dyn Subscriber {
        &*self.subscriber
    }
}
