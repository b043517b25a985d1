//! A connection, or a place on one, while a request has it. Whatever happens, it goes back to the pool or
//! is closed. Not for the request.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::Request;
use hyper::client::conn::{http1, http2};
use tokio::task::AbortHandle;

use crate::alarm::Alarm;
use crate::outgoing::Outgoing;
use crate::place::Place;
use crate::pool::Pool;
use crate::sent::Sent;

/// An HTTP/1.1 connection.
pub(crate) struct Link {
    pub id: u64,
    pub sender: http1::SendRequest<Outgoing>,
    pub used: u64,
    pub idle_since: Instant,
    /// The head of the request it last carried, where that was to be kept.
    pub sent: Arc<Sent>,
    /// Closes it at once.
    pub task: AbortHandle,
}

/// A place on an HTTP/2 connection.
pub(crate) struct Stream {
    pub id: u64,
    pub sender: http2::SendRequest<Outgoing>,
}

pub(crate) enum Line {
    Link(Link),
    Stream(Stream),
}

/// What a request has of a pool. Dropping it closes the connection, or frees the place on a shared one.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    line: Option<Line>,
    alarm: Option<Alarm>,
    /// Of a connection that may leave HTTP: its task ends then, and the place stays taken.
    place: Option<Place>,
    /// Whether the connection served another request before: then it may be dead without anybody's fault.
    pub reused: bool,
    /// Whether the connection may serve another request.
    pub keep: bool,
}

impl Lease {
    pub(crate) fn link(pool: Arc<Pool>, link: Link, alarm: Option<Alarm>, reused: bool) -> Self {
        Self { pool, line: Some(Line::Link(link)), alarm, place: None, reused, keep: true }
    }

    pub(crate) fn stream(pool: Arc<Pool>, stream: Stream, alarm: Option<Alarm>, reused: bool) -> Self {
        Self { pool, line: Some(Line::Stream(stream)), alarm, place: None, reused, keep: true }
    }

    /// Returns one that is never given back.
    pub(crate) fn single(link: Link, place: Place) -> Self {
        let pool = place.pool().clone();
        Self { pool, line: Some(Line::Link(link)), alarm: None, place: Some(place), reused: false, keep: false }
    }

    /// Says whether it is one that is never given back.
    pub(crate) fn is_single(&self) -> bool {
        self.place.is_some()
    }

    /// Lets go of a connection that left HTTP, and returns the place that it still takes.
    pub(crate) fn into_place(mut self) -> Option<Place> {
        self.line = None;
        self.place.take()
    }

    pub(crate) fn line(&mut self) -> Option<&mut Line> {
        self.line.as_mut()
    }

    /// Returns the request whose head the connection kept.
    pub(crate) fn sent(&self) -> Option<Request<Outgoing>> {
        match &self.line {
            Some(Line::Link(link)) => link.sent.request(),
            _ => None,
        }
    }

    /// Is ready when the moment has come.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        self.alarm.get_or_insert_with(|| Alarm::new(due)).poll(cx, due)
    }

    /// Gives the connection back after a whole answer; `whole` says that the request was sent to its end.
    pub(crate) fn finish(mut self, whole: bool, now: Instant) {
        match self.line.take() {
            Some(Line::Link(link)) if whole && self.keep => self.pool.give_back(link, self.alarm.take(), now),
            line => self.line = line,
        }
    }

    /// Forgets the place on a shared connection; the caller has the pool's lock and counts it out.
    pub(crate) fn forget_stream(&mut self) -> Option<u64> {
        // The timer stays behind: it is not worth another lock.
        self.alarm = None;
        match self.line.take() {
            Some(Line::Stream(stream)) => Some(stream.id),
            _ => None,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.line.take() {
            Some(Line::Link(link)) => {
                link.task.abort();
                if let Some(alarm) = self.alarm.take() {
                    self.pool.keep_alarm(alarm);
                }
            }
            Some(Line::Stream(stream)) => self.pool.end_stream(stream.id, self.alarm.take(), Instant::now()),
            None => {}
        }
    }
}
