//! Checks of tokens that are under way: who comes with the same token meanwhile waits for the same check. Not for
//! what is remembered afterwards; see `token_cache`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::{Error, Result};
use tokio::sync::watch;
use web::Verified;

use crate::token_cache::{Key, Ticket, TokenCache};

/// For how long after its beginning others join a check: what it has read should not be old when they are let in.
const JOIN: Duration = Duration::from_secs(1);

/// What became of a check; an error is made anew for each who waited.
type Outcome = Option<std::result::Result<Arc<Verified>, Refused>>;

/// An error that can be told more than once. What only the log should know is told to the first.
#[derive(Clone)]
struct Refused(Arc<Mutex<Option<Error>>>, Told);

#[derive(Clone)]
struct Told {
    kind: kernel::Kind,
    status: u16,
    code: &'static str,
    message: String,
    retry_after: Option<u32>,
}

/// The checks that are under way.
#[derive(Default)]
pub(crate) struct Checks(Mutex<HashMap<Key, (Ticket, watch::Receiver<Outcome>)>>);

/// A check that somebody else has begun.
pub(crate) struct Flight(watch::Receiver<Outcome>);

/// A check to be made. One that is dropped has failed.
pub(crate) struct Check {
    cache: Arc<TokenCache>,
    key: Key,
    ticket: Ticket,
    outcome: watch::Sender<Outcome>,
}

/// What to do about a token that is not known.
pub(crate) enum Joined {
    /// It has become known meanwhile.
    Known(Arc<Verified>),
    /// Wait for this.
    Under(Flight),
    /// Check it.
    First(Check),
}

impl Checks {
    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, (Ticket, watch::Receiver<Outcome>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenCache {
    /// Finds out whether a token has to be checked. Nobody joins a check that began before a revocation: it may have
    /// read what the revocation ended.
    pub(crate) fn join_or_begin(self: &Arc<Self>, token: &str) -> Joined {
        let key = Key::of(token);
        let mut under_way = self.checks().under_way();
        if let Some((ticket, outcome)) = under_way.get(&key)
            && self.is_current(*ticket)
            && ticket.age() < JOIN
        {
            return Joined::Under(Flight(outcome.clone()));
        }
        // It may have landed since the caller looked.
        if let Some(known) = self.peek(&key) {
            return Joined::Known(known);
        }
        let (ticket, (outcome, flight)) = (self.begin(), watch::channel(None));
        if self.is_coalescing() {
            under_way.insert(key, (ticket, flight));
        }
        Joined::First(Check { cache: self.clone(), key, ticket, outcome })
    }
}

impl Check {
    /// Returns what waits for it.
    pub(crate) fn flight(&self) -> Flight {
        Flight(self.outcome.subscribe())
    }

    /// Ends it: a good token is remembered before anybody is told.
    pub(crate) fn end(self, token: &str, checked: Result<Arc<Verified>>) {
        if let Ok(verified) = &checked {
            self.cache.admit(self.ticket, token, verified);
        }
        self.outcome.send_replace(Some(checked.map_err(Refused::new)));
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        let mut under_way = self.cache.checks().under_way();
        // Another may have begun since, after a revocation.
        if under_way.get(&self.key).is_some_and(|(_, outcome)| outcome.same_channel(&self.outcome.subscribe())) {
            under_way.remove(&self.key);
        }
    }
}

impl Flight {
    /// Returns what became of it.
    pub(crate) async fn landed(mut self) -> Result<Arc<Verified>> {
        let failed = || Error::internal("authentication failed to run");
        let outcome = self.0.wait_for(Option::is_some).await.map_err(|_| failed())?.clone();
        outcome.ok_or_else(failed)?.map_err(|refused| refused.tell())
    }
}

impl Refused {
    fn new(error: Error) -> Self {
        let told = Told {
            kind: error.kind(),
            status: error.status(),
            code: error.code(),
            message: error.message().to_owned(),
            retry_after: error.retry_after_seconds(),
        };
        Self(Arc::new(Mutex::new(Some(error))), told)
    }

    fn tell(&self) -> Error {
        if let Some(first) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return first;
        }
        let told = &self.1;
        let error = Error::new(told.kind, told.code, told.message.clone()).status_code(told.status);
        match told.retry_after {
            Some(seconds) => error.retry_after(seconds),
            None => error,
        }
    }
}
