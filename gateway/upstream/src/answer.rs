//! The body of an answer: it gives its connection back when it ends, and closes it when it is dropped
//! before. Not for what the bytes are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::bulkhead::Permit;
use crate::failure::{Failure, FailureKind};
use crate::lease::Lease;
use crate::member::InFlight;
use crate::place::Place;
use crate::upload::{Stage, Upload};

/// An answer's body with everything that lasts as long as it does.
pub(crate) struct Answer {
    incoming: Incoming,
    lease: Option<Lease>,
    in_flight: Option<InFlight>,
    permit: Option<Permit>,
    upload: Option<Arc<Upload>>,
    idle: Option<Duration>,
    until: Option<Instant>,
    last: Instant,
    waits: bool,
}

impl Answer {
    pub(crate) fn new(
        incoming: Incoming,
        lease: Lease,
        in_flight: InFlight,
        upload: Option<Arc<Upload>>,
        now: Instant,
    ) -> Self {
        let (lease, in_flight) = (Some(lease), Some(in_flight));
        let mut answer =
            Self { incoming, lease, in_flight, permit: None, upload, idle: None, until: None, last: now, waits: false };
        if answer.incoming.is_end_stream() && !answer.lease.as_ref().is_some_and(Lease::is_single) {
            answer.finish();
        }
        answer
    }

    /// Says how long it may take, and what it holds until its end.
    pub(crate) fn bound(&mut self, idle: Option<Duration>, until: Option<Instant>, permit: Option<Permit>) {
        (self.idle, self.until) = (idle, until);
        if self.lease.is_some() {
            self.permit = permit;
        }
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            let whole = self.upload.as_ref().is_none_or(|upload| upload.stage() == Stage::Done);
            lease.finish(whole, self.last);
        }
        self.release();
    }

    fn release(&mut self) {
        self.lease = None;
        self.in_flight = None;
        self.permit = None;
    }

    /// Returns when the next part must be there.
    fn due(&self) -> Option<Instant> {
        let idle = self.idle.map(|idle| self.last + idle);
        match (idle, self.until) {
            (Some(idle), Some(until)) => Some(idle.min(until)),
            (idle, until) => idle.or(until),
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if !self.waits {
            self.waits = true;
            self.last = Instant::now();
        }
        let (Some(due), Some(lease)) = (self.due(), &mut self.lease) else { return Poll::Pending };
        lease.poll_late(cx, due).map(|()| match self.until == Some(due) {
            true => Failure::new(FailureKind::Deadline),
            false => Failure::new(FailureKind::BodyTimeout),
        })
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waits = false;
                if self.incoming.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.release();
                Poll::Ready(Some(Err(Failure::caused(FailureKind::Reset, error))))
            }
            Poll::Pending => match self.poll_late(cx) {
                Poll::Ready(failure) => {
                    self.release();
                    Poll::Ready(Some(Err(failure)))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What a connection that left HTTP goes on taking: a place among the connections and one in the bulkhead.
/// It is in the extensions of a 101 answer; keep it until the tunnel's end.
#[derive(Clone)]
pub struct Tunnel {
    _held: Arc<Held>,
}

struct Held {
    _place: Option<Place>,
    _in_flight: Option<InFlight>,
    _permit: Option<Permit>,
}

impl Tunnel {
    pub(crate) fn new(mut answer: Answer, permit: Option<Permit>) -> Self {
        let place = answer.lease.take().and_then(Lease::into_place);
        Self { _held: Arc::new(Held { _place: place, _in_flight: answer.in_flight.take(), _permit: permit }) }
    }
}
