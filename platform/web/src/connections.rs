//! The connections of this process that outlive a request: event streams and sockets. Each is closed
//! when its credential is revoked, and none slips in between the check of its credential and its
//! opening. Not for expiry, which the connection's own clock knows.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
pub struct Connections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    book: Mutex<Book>,
    /// The book's moment, for those who only want to know that.
    moment: AtomicU64,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    open: HashMap<u64, Entry>,
    /// The last revocations, the newest at the end; `moment` counts all there ever were.
    revoked: VecDeque<(Instant, Revocation)>,
    moment: u64,
    closing: bool,
}

impl Book {
    /// Says whether the credential was revoked since this moment, or may have been.
    fn was_revoked(&self, principal: &Principal, since: Moment) -> bool {
        let missed = usize::try_from(self.moment - since.0).unwrap_or(usize::MAX);
        missed > self.revoked.len()
            || self.revoked.iter().rev().take(missed).any(|(_, revocation)| revocation.covers(principal))
    }
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
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the moment it is; take it before checking a credential.
    pub fn moment(&self) -> Moment {
        Moment(self.0.moment.load(Ordering::SeqCst))
    }

    /// Returns the moment it was a while ago: for a credential that another process checked, which may
    /// not have heard of what was revoked since.
    pub fn moment_before(&self, a_while: Duration) -> Moment {
        let book = self.book();
        let heard = book.revoked.iter().rev().take_while(|(at, _)| at.elapsed() < a_while).count();
        Moment(book.moment - heard as u64)
    }

    /// Puts a connection on the list, unless its credential was revoked since it was checked or the
    /// process is stopping.
    pub fn open(&self, principal: Arc<Principal>, since: Moment) -> Option<Connection> {
        let mut book = self.book();
        if book.closing || book.was_revoked(&principal, since) {
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
        self.0.moment.store(book.moment, Ordering::SeqCst);
        if book.revoked.len() == REMEMBERED {
            book.revoked.pop_front();
        }
        book.revoked.push_back((Instant::now(), revocation.clone()));
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
        let refused = book.closing || book.was_revoked(&principal, since);
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use kernel::{Actor, PermissionSet, TenantId, UserId};

    use super::*;
    use crate::request::CredentialKind;

    fn caller(credential: &str) -> Arc<Principal> {
        Arc::new(Principal {
            tenant: TenantId::new(),
            actor: Actor::User(UserId::new()),
            role: "staff".into(),
            permissions: PermissionSet::default(),
            credential: credential.into(),
            kind: CredentialKind::Session,
            elevated: None,
        })
    }

    fn ends(credential: &str) -> Revocation {
        Revocation::Credential(credential.into())
    }

    #[test]
    fn a_revocation_closes_what_it_covers_and_nothing_else() {
        let connections = Connections::default();
        let since = connections.moment();
        let one = connections.open(caller("one"), since).expect("open");
        let two = connections.open(caller("two"), since).expect("open");
        assert_eq!((connections.revoke(&ends("one")), connections.len()), (1, 2));
        assert!(one.closed().now_or_never().is_some());
        assert!(two.closed().now_or_never().is_none());
        drop(one);
        assert_eq!(connections.len(), 1);
        assert!(!two.renew(caller("one"), since), "revoked since it was checked");
        assert!(two.renew(caller("three"), connections.moment()));
        assert_eq!((connections.revoke(&ends("two")), connections.revoke(&ends("three"))), (0, 1));
    }

    #[test]
    fn what_was_revoked_between_its_check_and_its_opening_is_not_let_in() {
        let connections = Connections::default();
        let checked = connections.moment();
        connections.revoke(&ends("one"));
        assert!(connections.open(caller("one"), checked).is_none());
        assert!(connections.open(caller("two"), checked).is_some());
        assert!(connections.open(caller("one"), connections.moment()).is_some(), "checked after it");
        // Another process may have checked it before it heard.
        assert!(connections.open(caller("one"), connections.moment_before(Duration::from_secs(60))).is_none());
        assert!(connections.open(caller("one"), connections.moment_before(Duration::ZERO)).is_some());
        for _ in 0..REMEMBERED {
            connections.revoke(&ends("others"));
        }
        assert!(connections.open(caller("two"), checked).is_none(), "too long ago to know");
    }

    #[test]
    fn a_process_that_stops_closes_all_and_lets_nobody_in() {
        let connections = Connections::default();
        let open = connections.open(caller("one"), connections.moment()).expect("open");
        connections.close();
        assert!(open.closed().now_or_never().is_some());
        assert!(connections.open(caller("one"), connections.moment()).is_none());
    }
}
