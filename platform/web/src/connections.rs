//! The connections of this process that outlive a request: event streams and sockets. Each is closed
//! when its credential is revoked, and none slips in between the check of its credential and its
//! opening. Not for expiry, which the connection's own clock knows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::Timestamp;
use tokio::sync::Notify;

use crate::request::{Principal, Revocation};

/// How many revocations are remembered for connections that are being opened.
const REMEMBERED: usize = 4_096;

/// A moment between two revocations; taken before a credential is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(u64);

/// How long the caller's credential is good, and when it was checked. The door puts it beside the
/// [`Principal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When the credential ends by itself.
    pub until: Timestamp,
    /// The moment before it was checked.
    pub since: Moment,
}

/// The open connections. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    next: u64,
    open: HashMap<u64, Entry>,
    /// The last revocations, the newest at the end; `moment` counts all there ever were.
    revoked: VecDeque<Revocation>,
    moment: u64,
    closing: bool,
}

#[derive(Debug)]
struct Entry {
    principal: Arc<Principal>,
    closed: Arc<Notify>,
}

/// A connection that is open; dropping it takes it off the list.
#[derive(Debug)]
pub struct Connection {
    connections: Connections,
    number: u64,
    closed: Arc<Notify>,
}

impl Connections {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the moment it is; take it before checking a credential.
    pub fn moment(&self) -> Moment {
        Moment(self.book().moment)
    }

    /// Puts a connection on the list, unless its credential was revoked since it was checked or the
    /// process is stopping.
    pub fn open(&self, principal: Arc<Principal>, since: Moment) -> Option<Connection> {
        let mut book = self.book();
        let missed = usize::try_from(book.moment - since.0).unwrap_or(usize::MAX);
        if book.closing || missed > book.revoked.len() {
            return None;
        }
        if book.revoked.iter().rev().take(missed).any(|revocation| revocation.covers(&principal)) {
            return None;
        }
        let (number, closed) = (book.next, Arc::new(Notify::new()));
        book.next += 1;
        book.open.insert(number, Entry { principal, closed: closed.clone() });
        drop(book);
        Some(Connection { connections: self.clone(), number, closed })
    }

    /// Closes every connection that the revocation covers, and says how many there were.
    pub fn revoke(&self, revocation: &Revocation) -> usize {
        let mut book = self.book();
        book.moment += 1;
        if book.revoked.len() == REMEMBERED {
            book.revoked.pop_front();
        }
        book.revoked.push_back(revocation.clone());
        let covered = book.open.values().filter(|entry| revocation.covers(&entry.principal));
        covered.map(|entry| entry.closed.notify_one()).count()
    }

    /// Closes every connection and lets no other in: the process is stopping.
    pub fn close(&self) {
        let mut book = self.book();
        book.closing = true;
        book.open.values().for_each(|entry| entry.closed.notify_one());
    }

    /// Says whether the process is stopping.
    pub fn is_closing(&self) -> bool {
        self.book().closing
    }

    /// Returns how many connections are open.
    pub fn len(&self) -> usize {
        self.book().open.len()
    }

    /// Says whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Connection {
    /// Waits until the connection has to be closed.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Goes on under another credential of the same connection, unless that was revoked since it was
    /// checked.
    #[must_use]
    pub fn renew(&self, principal: Arc<Principal>, since: Moment) -> bool {
        let mut book = self.connections.book();
        let missed = usize::try_from(book.moment - since.0).unwrap_or(usize::MAX);
        let refused = book.closing
            || missed > book.revoked.len()
            || book.revoked.iter().rev().take(missed).any(|revocation| revocation.covers(&principal));
        match book.open.get_mut(&self.number) {
            Some(entry) if !refused => {
                entry.principal = principal;
                true
            }
            _ => false,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.book().open.remove(&self.number);
    }
}
