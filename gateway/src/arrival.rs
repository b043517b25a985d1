//! Watches whether the body of a request still comes: how many do at a time, and whose; and where the time of a
//! request ends, whose fault that is. Not for limits on bodies, and not for how fast they come.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use kernel::{Error, Result};
use upstream::{Sender, Uploading, Uploads};

/// The requests of this process whose bodies still come. Who sends slowly keeps a request under way for as long
/// as it likes: a tenant, or else an address, may do so with a quarter of all there may be, and all of them
/// together with three quarters, so that there is room for others and for what has no body.
#[derive(Clone, Default)]
pub(crate) struct Arrivals {
    of_sender: Arc<Uploads>,
    of_all: Arc<Uploads>,
}

type Place = [Uploading; 2];

impl Arrivals {
    /// Counts a body until the place is dropped, unless there are too many; `in_flight` requests may be under way.
    pub(crate) fn enter(&self, sender: Sender, in_flight: usize) -> Option<Place> {
        let own = self.of_sender.enter(sender, (in_flight / 4).max(1))?;
        Some([own, self.of_all.enter(Sender::Unknown, (in_flight * 3 / 4).max(1))?])
    }
}

/// How a request's body comes, where it has one.
#[derive(Clone, Default)]
pub(crate) struct Arrival(Option<Arc<Coming>>);

struct Coming {
    /// Nothing, after the time was over; with what it takes of its sender's share.
    body: Mutex<Option<(Body, Option<Place>)>>,
    /// Whether somebody waits for the client to send more.
    waits: AtomicBool,
    waker: AtomicWaker,
}

impl Arrival {
    /// Watches the body of a request, which takes a place of its sender's share until all of it is here.
    pub(crate) fn watch(request: Request, place: impl FnOnce() -> Option<Place>) -> Result<(Request, Self)> {
        if http_body::Body::is_end_stream(request.body()) {
            return Ok((request, Self::default()));
        }
        let (parts, body) = request.into_parts();
        let place = place().ok_or_else(|| {
            let message = "too many bodies are being sent at once; try again shortly";
            Error::unavailable("gateway.overloaded", message).retry_after(1)
        })?;
        let body = Mutex::new(Some((body, Some(place))));
        let coming = Arc::new(Coming { body, waits: AtomicBool::new(false), waker: AtomicWaker::new() });
        Ok((Request::from_parts(parts, Body::new(Watched(coming.clone()))), Self(Some(coming))))
    }

    /// Returns why there is no answer now that the time is over. A handler that goes on gets no more of the body.
    pub(crate) fn late(&self) -> Error {
        if let Some(coming) = &self.0 {
            drop(coming.body().take());
            coming.waker.wake();
            if coming.waits.load(Ordering::Relaxed) {
                return stalled();
            }
        }
        let message = "the answer took too long; whether the change was made is not known";
        Error::unavailable("gateway.timeout", message).status_code(504)
    }
}

fn stalled() -> Error {
    Error::invalid("request.body_timeout", "the body of the request did not come in time").status_code(408)
}

impl Coming {
    fn body(&self) -> MutexGuard<'_, Option<(Body, Option<Place>)>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched(Arc<Coming>);

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.0.body().take());
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        self.0.waker.register(context.waker());
        let mut body = self.0.body();
        let Some((body, place)) = &mut *body else { return Poll::Ready(Some(Err(axum::Error::new(stalled())))) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        self.0.waits.store(polled.is_pending(), Ordering::Relaxed);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || http_body::Body::is_end_stream(body) {
            drop(place.take());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.body().as_ref().is_some_and(|(body, _)| http_body::Body::is_end_stream(body))
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body().as_ref().map(|(body, _)| http_body::Body::size_hint(body)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn only_who_waits_for_the_client_may_blame_it() {
        let arrivals = Arrivals::default();
        let enter = || arrivals.enter(Sender::Unknown, 4);
        let watched = || {
            let parts = futures_util::stream::iter([Ok::<_, std::convert::Infallible>("some")]);
            let body = Body::from_stream(parts.chain(futures_util::stream::pending()));
            Arrival::watch(Request::new(body), enter)
        };
        let (_, arrival) = watched().expect("a place");
        assert_eq!(arrival.late().code(), "gateway.timeout", "nobody asked the client yet");
        let (mut request, arrival) = watched().expect("a place");
        assert_eq!(watched().err().expect("its share is one").code(), "gateway.overloaded");
        request.body_mut().frame().now_or_never().expect("some").expect("some").expect("some");
        assert_eq!(arrival.late().code(), "gateway.timeout", "the handler keeps what it has");
        let (mut request, arrival) = watched().expect("a place");
        request.body_mut().frame().now_or_never().expect("some").expect("some").expect("some");
        assert!(request.body_mut().frame().now_or_never().is_none());
        assert_eq!((arrival.late().code(), arrival.late().status()), ("request.body_timeout", 408));
        request.body_mut().frame().now_or_never().expect("an end").expect("a word").expect_err("nothing more comes");
        let (_, none) = Arrival::watch(Request::new(Body::empty()), || None).expect("it needs no place");
        assert_eq!((none.late().code(), none.late().status()), ("gateway.timeout", 504));
    }

    #[test]
    fn a_body_that_is_here_needs_no_place() {
        let arrivals = Arrivals::default();
        let whole = || Arrival::watch(Request::new(Body::from("whole")), || arrivals.enter(Sender::Unknown, 4));
        let (request, _arrival) = whole().expect("a place");
        assert!(whole().is_err());
        request.into_body().collect().now_or_never().expect("it is here").expect("no error");
        let (dropped, _other) = whole().expect("it is free again");
        drop(dropped);
        whole().expect("and again");
    }

    #[test]
    fn many_senders_together_leave_room_too() {
        let arrivals = Arrivals::default();
        let sender = |number: u8| Sender::new(None, Some([192, 0, 2, number].into()));
        let held: Vec<Place> = (0..8).filter_map(|number| arrivals.enter(sender(number / 2), 8)).collect();
        assert_eq!(held.len(), 6, "two of each, and six of all");
        drop(held);
        assert!(arrivals.enter(sender(0), 8).is_some());
    }
}
