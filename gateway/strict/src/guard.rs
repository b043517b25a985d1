//! Reads a socket for hyper through the scanner, in hyper's own buffer: only what cannot be passed on yet is
//! kept in one of its own. Also holds both sides to their pace. Not for the framing itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::config::Config;
use crate::link::Link;
use crate::pace::Pace;
use crate::refusal::Refusal;
use crate::scanner::{Scanner, Then};

/// How much may come before it is known whether a WebSocket was agreed to.
const EARLY: usize = 16 * 1024;
/// How much is read and thrown away after a refusal, for the client to get its answer.
const THROWN_AWAY: usize = 256 * 1024;

/// The guard of one socket.
#[derive(Debug)]
pub struct Guard {
    config: Arc<Config>,
    scanner: Scanner,
    link: Arc<Link>,
    /// What has been read and not passed on: `at..upto` may be, and what follows is for `then`.
    held: Vec<u8>,
    at: usize,
    upto: usize,
    then: Then,
    /// Since when an incomplete head is held.
    since: Option<Instant>,
    thrown_away: usize,
    reads: Pace,
    writes: Pace,
}

impl Guard {
    /// Returns the guard of a new connection; the link is shared with the task that drives it.
    pub fn new(config: &Arc<Config>, link: &Arc<Link>) -> Self {
        Self {
            config: config.clone(),
            scanner: Scanner::new(config.clone()),
            link: link.clone(),
            held: Vec::new(),
            at: 0,
            upto: 0,
            then: Then::More,
            since: None,
            thrown_away: 0,
            reads: Pace::new(config.body_idle_ms, config.body_bytes_per_second, config.body_total_ms),
            writes: Pace::new(config.write_idle_ms, config.write_bytes_per_second, 0),
        }
    }

    /// Reads as [`AsyncRead::poll_read`] does. What is refused is an `InvalidData` inside a body, and a stand-in
    /// ([`Refusal::of`]) where a head was to come.
    pub fn poll_read<S: AsyncRead>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.pass_on(buffer) {
                return Poll::Ready(Ok(()));
            }
            match self.then {
                Then::More | Then::Hold => {}
                Then::Refuse(_) => return self.throw_away(stream, context, buffer),
                Then::Break(refusal) => return Poll::Ready(Err(refusal.into_io())),
                Then::Wait => match self.link.agreed() {
                    None if self.held.len() >= EARLY => return Poll::Pending,
                    None => {}
                    // The answer says that it is the last: what comes was meant for another protocol.
                    Some(false) => return self.throw_away(stream, context, buffer),
                    Some(true) => {
                        self.scanner.agreed();
                        self.scan_held();
                        continue;
                    }
                },
            }
            let before = buffer.filled().len();
            let Poll::Ready(read) = stream.as_mut().poll_read(context, buffer) else {
                ready!(self.wait())?;
                continue;
            };
            read?;
            let count = buffer.filled().len() - before;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.reads.waits() {
                self.reads.came(count, Instant::now);
            }
            if self.then == Then::More {
                let scan = self.scanner.scan(&buffer.filled()[before..]);
                if scan.then == Then::More {
                    return Poll::Ready(Ok(()));
                }
                self.held.extend_from_slice(&buffer.filled()[before + scan.pass..]);
                buffer.set_filled(before + scan.pass);
                self.settle(scan.then, scan.pass > 0);
                if scan.pass > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                self.held.extend_from_slice(&buffer.filled()[before..]);
                buffer.set_filled(before);
                if self.then == Then::Hold {
                    self.scan_held();
                    self.check_head();
                }
            }
        }
    }

    /// Takes note of how a write went; a client that takes nothing, or too little, ends in an error.
    pub fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.writes.wrote(&self.link, written)
    }

    /// Passes on what may be; returns whether there was anything.
    fn pass_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.at == self.upto {
            return false;
        }
        let count = buffer.remaining().min(self.upto - self.at);
        buffer.put_slice(&self.held[self.at..self.at + count]);
        self.at += count;
        if self.at == self.held.len() {
            // Freed: most connections never need it again.
            self.held = Vec::new();
            (self.at, self.upto) = (0, 0);
        }
        true
    }

    /// Scans what is held.
    fn scan_held(&mut self) {
        self.held.drain(..self.at);
        let scan = self.scanner.scan(&self.held);
        (self.at, self.upto) = (0, scan.pass);
        self.settle(scan.then, scan.pass > 0);
    }

    /// Goes by what the scanner said; `moved` says that something before was passed.
    fn settle(&mut self, then: Then, moved: bool) {
        self.then = then;
        match then {
            Then::Hold if self.scanner.in_head() => {
                if moved || self.since.is_none() {
                    self.since = Some(Instant::now());
                }
                return;
            }
            Then::Refuse(refusal) => self.stand_in(refusal),
            Then::Wait => self.link.ask(self.scanner.heads()),
            // Its request is answered, and the client may be sending on.
            Then::Break(_) => self.link.refuse(),
            Then::More | Then::Hold => {}
        }
        self.since = None;
    }

    /// Puts a request of ours in the place of a refused one.
    fn stand_in(&mut self, refusal: Refusal) {
        let request = refusal.stand_in(&self.held[self.upto..]);
        self.held.truncate(self.upto);
        self.held.extend_from_slice(&request);
        self.upto = self.held.len();
        self.link.refuse();
        self.link.await_read(None);
    }

    /// Refuses a head that has taken too long.
    fn check_head(&mut self) -> Option<Instant> {
        let until = self.since? + self.config.header_timeout();
        if Instant::now() >= until {
            let then = self.scanner.refuse(Refusal::HeadTooSlow, true);
            self.settle(then, false);
        }
        Some(until)
    }

    /// Nothing has come. Ready if that went on for too long.
    fn wait(&mut self) -> Poll<io::Result<()>> {
        if let Some(until) = self.check_head() {
            if self.then != Then::Hold {
                return Poll::Ready(Ok(()));
            }
            self.link.await_read(Some(until));
        } else if self.scanner.in_body() {
            let now = Instant::now();
            let until = self.reads.wait(now);
            if now >= until {
                self.then = self.scanner.refuse(Refusal::BodyTooSlow, false);
                self.link.refuse();
                return Poll::Ready(Err(Refusal::BodyTooSlow.into_io()));
            }
            self.link.await_read(Some(until));
        } else {
            self.reads.reset();
            self.link.await_read(None);
        }
        Poll::Pending
    }

    /// Reads on after a refusal, so that the client can go on to the answer. The end is not told to hyper, which
    /// would take it for a client that is gone.
    fn throw_away<S: AsyncRead>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while self.thrown_away < THROWN_AWAY {
            ready!(stream.as_mut().poll_read(context, buffer))?;
            let count = buffer.filled().len() - before;
            buffer.set_filled(before);
            self.thrown_away += if count == 0 { THROWN_AWAY } else { count };
        }
        Poll::Pending
    }
}
