//! The sockets of this process: how many each person, tenant and address holds, what has passed, how they ended,
//! and the word that all are to end. Made once; outlives reloads. Not for one socket's bytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::{Error, Result, TenantId};
use tokio::sync::watch;
use web::Principal;

use crate::config::Config;

/// Why a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client said Close first.
    ClientClosed,
    /// The origin said Close first.
    OriginClosed,
    /// The client's connection ended without a Close.
    ClientGone,
    /// The origin's connection ended without a Close.
    OriginGone,
    /// The client broke a rule of the protocol.
    ClientBroke,
    /// The origin broke a rule of the protocol.
    OriginBroke,
    /// A frame or a message was too big.
    TooBig,
    /// Nothing passed for too long.
    Idle,
    /// A side gave no sign of life.
    Unresponsive,
    /// The credential ended by itself.
    Expired,
    /// The credential was revoked.
    Revoked,
    /// The process stops.
    Draining,
    /// One of the connections never became a socket.
    NotOpened,
}

impl Reason {
    /// All of them, in the order of [`Counts::ended`].
    pub const ALL: [Self; 13] = [
        Self::ClientClosed,
        Self::OriginClosed,
        Self::ClientGone,
        Self::OriginGone,
        Self::ClientBroke,
        Self::OriginBroke,
        Self::TooBig,
        Self::Idle,
        Self::Unresponsive,
        Self::Expired,
        Self::Revoked,
        Self::Draining,
        Self::NotOpened,
    ];

    /// Returns its name, for a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::OriginClosed => "origin_closed",
            Self::ClientGone => "client_gone",
            Self::OriginGone => "origin_gone",
            Self::ClientBroke => "client_broke",
            Self::OriginBroke => "origin_broke",
            Self::TooBig => "too_big",
            Self::Idle => "idle",
            Self::Unresponsive => "unresponsive",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Draining => "draining",
            Self::NotOpened => "not_opened",
        }
    }
}

/// What has passed since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many sockets are open.
    pub open: u64,
    /// How many have been opened.
    pub opened: u64,
    /// How many were refused because of a limit.
    pub refused: u64,
    /// Bytes from clients, and from origins.
    pub bytes: [u64; 2],
    /// Frames from clients, and from origins.
    pub frames: [u64; 2],
    /// How many ended for each of [`Reason::ALL`].
    pub ended: [u64; 13],
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    opened: AtomicU64,
    refused: AtomicU64,
    bytes: [AtomicU64; 2],
    frames: [AtomicU64; 2],
    ended: [AtomicU64; 13],
}

/// What has come.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    /// Whether any of it was not an answer to the gateway.
    pub(crate) moved: bool,
}

impl Tally {
    /// Counts what has come from a side: the client's is 0, the origin's 1.
    pub(crate) fn came(&self, side: usize, fresh: &Fresh) {
        if fresh.bytes > 0 {
            self.bytes[side].fetch_add(fresh.bytes, Ordering::Relaxed);
            self.frames[side].fetch_add(fresh.frames, Ordering::Relaxed);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    User([u8; 16]),
    Tenant(TenantId),
    Address(IpAddr),
}

#[derive(Debug)]
struct Inner {
    tally: Tally,
    held: Mutex<HashMap<Holder, usize>>,
    stop: watch::Sender<bool>,
}

/// The sockets of this process. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Sockets(Arc<Inner>);

/// Room for one socket; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    sockets: Sockets,
    holders: [Option<Holder>; 2],
}

impl Default for Sockets {
    fn default() -> Self {
        Self(Arc::new(Inner { tally: Tally::default(), held: Mutex::default(), stop: watch::Sender::new(false) }))
    }
}

impl Sockets {
    fn held(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    pub(crate) fn stop(&self) -> watch::Receiver<bool> {
        self.0.stop.subscribe()
    }

    /// Makes room for a socket of this caller, or of this address where nobody signed in.
    pub fn admit(&self, config: &Config, principal: Option<&Principal>, address: IpAddr) -> Result<Place> {
        if *self.0.stop.borrow() {
            return Err(Error::unavailable("gateway.draining", "the gateway is stopping").retry_after(1));
        }
        let wanted = match principal {
            Some(principal) => [
                Some((Holder::User(person(principal)), config.max_per_user)),
                Some((Holder::Tenant(principal.tenant), config.max_per_tenant)),
            ],
            None => [Some((Holder::Address(address), config.max_per_address)), None],
        };
        let mut held = self.held();
        if wanted.iter().flatten().any(|(holder, most)| held.get(holder).is_some_and(|held| held >= most)) {
            drop(held);
            self.0.tally.refused.fetch_add(1, Ordering::Relaxed);
            let message = "too many sockets are open; close one first";
            return Err(Error::limited("gateway.websocket_limit", message));
        }
        for (holder, _) in wanted.iter().flatten() {
            *held.entry(*holder).or_default() += 1;
        }
        drop(held);
        Ok(Place { sockets: self.clone(), holders: wanted.map(|wanted| wanted.map(|(holder, _)| holder)) })
    }

    /// Tells every socket to end, and lets no other in.
    pub fn drain(&self) {
        self.0.stop.send_replace(true);
    }

    /// Returns what has passed.
    pub fn counts(&self) -> Counts {
        let tally = &self.0.tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended = tally.ended.each_ref().map(read);
        let opened = read(&tally.opened);
        Counts {
            open: opened.saturating_sub(ended.iter().sum()),
            opened,
            refused: read(&tally.refused),
            bytes: tally.bytes.each_ref().map(read),
            frames: tally.frames.each_ref().map(read),
            ended,
        }
    }
}

impl Place {
    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    pub(crate) fn opened(&self) {
        self.sockets.0.tally.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, reason: Reason) {
        let at = Reason::ALL.iter().position(|known| *known == reason).expect("each is among all");
        self.sockets.0.tally.ended[at].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.sockets.held();
        for holder in self.holders.iter().flatten() {
            if let Some(count) = held.get_mut(holder) {
                *count -= 1;
                if *count == 0 {
                    held.remove(holder);
                }
            }
        }
    }
}

/// Names a person in a tenant; a program is known by its credential.
fn person(principal: &Principal) -> [u8; 16] {
    use aws_lc_rs::digest;
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(principal.tenant.to_string().as_bytes());
    hash.update(principal.actor.to_string().as_bytes());
    if principal.kind == web::CredentialKind::ApiToken {
        hash.update(principal.credential.as_bytes());
    }
    let mut name = [0; 16];
    name.copy_from_slice(&hash.finish().as_ref()[..16]);
    name
}

#[cfg(test)]
mod tests;
