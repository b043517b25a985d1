//! Who is connected, and in which rooms of which tenant. Rooms are given by the server only; every
//! message names the tenant. Not for what a message holds.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engineioxide::Str;
use engineioxide::socket::Sid;
use kernel::{Actor, TenantId, UserId};
use service::Role;
use web::Principal;

use crate::session::{Frame, Session};

/// A room inside a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Room {
    /// Everybody with this role.
    Role(&'static str),
    /// One person, however often connected.
    User(UserId),
}

/// What a role may learn, as the event log sees it.
const AUDIENCES: [(&str, Role); 3] =
    [("events.admins.read", Role::Admin), ("events.staff.read", Role::Staff), ("events.members.read", Role::Viewer)];

impl Room {
    /// The roles that have rooms, the highest first.
    pub(crate) const ROLES: [Role; 3] = [Role::Admin, Role::Staff, Role::Viewer];

    /// Returns the rooms of a caller. The role is what the caller may read of the log, not what the
    /// credential calls itself: a token with few scopes learns no more here than there.
    pub(crate) fn of(principal: &Principal) -> Vec<Self> {
        let found = AUDIENCES.iter().find(|(permission, _)| principal.permissions.allows(permission));
        let Some((_, role)) = found else { return Vec::new() };
        let person = match principal.actor {
            Actor::User(user) => Some(Self::User(user)),
            Actor::Superadmin(_) | Actor::System => None,
        };
        [Some(Self::Role(role.name())), person].into_iter().flatten().collect()
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "role:{role}"),
            Self::User(user) => write!(f, "user:{user}"),
        }
    }
}

/// The sockets of this process.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Everything up to here has been told.
    position: i64,
    sessions: HashMap<Sid, Arc<Session>>,
    members: HashMap<(TenantId, Room), HashMap<Sid, Arc<Session>>>,
}

impl Book {
    fn enter(&mut self, session: &Arc<Session>) {
        for room in session.rooms() {
            let members = self.members.entry((session.tenant, room)).or_default();
            members.insert(session.sid(), session.clone());
        }
    }

    fn exit(&mut self, session: &Session) {
        for room in session.rooms() {
            let key = (session.tenant, room);
            if let Some(members) = self.members.get_mut(&key) {
                members.remove(&session.sid());
                if members.is_empty() {
                    self.members.remove(&key);
                }
            }
        }
    }
}

impl Rooms {
    /// Returns nobody, at this position of the log.
    pub(crate) fn at(position: i64) -> Self {
        Self(Mutex::new(Book { position, ..Book::default() }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a session in; it gets everything after the position that this returns.
    pub(crate) fn join(&self, session: &Arc<Session>) -> i64 {
        let mut book = self.book();
        book.sessions.insert(session.sid(), session.clone());
        book.enter(session);
        book.position
    }

    /// Takes a session out of everything.
    pub(crate) fn leave(&self, session: &Session) {
        let mut book = self.book();
        book.exit(session);
        book.sessions.remove(&session.sid());
    }

    /// Gives a session the rooms of another credential, between two messages.
    pub(crate) fn reassign(&self, session: &Arc<Session>, change: impl FnOnce(&Session)) {
        let mut book = self.book();
        if book.sessions.contains_key(&session.sid()) {
            book.exit(session);
            change(session);
            book.enter(session);
        }
    }

    /// Tells rooms of a tenant what happened at this position.
    pub(crate) fn tell(&self, tenant: TenantId, position: i64, messages: Vec<(Room, String)>) {
        let mut book = self.book();
        for (room, text) in messages {
            if let Some(members) = book.members.get(&(tenant, room)) {
                let text = Str::from(text);
                members.values().for_each(|session| session.deliver(Frame { position, text: text.clone() }));
            }
        }
        book.position = position;
    }

    /// Returns every session.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.book().sessions.values().cloned().collect()
    }
}
