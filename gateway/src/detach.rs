//! Takes an HTTP/1.1 connection out of hyper's hands once it is known that the rest of it is one event
//! stream: hyper keeps two buffers of 8 KiB as long as a connection lasts, and an idle stream needs none
//! (decision 0017). Not for what is streamed, and not for HTTP/2, whose streams share a connection.

mod lent;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use strict_http::{FrameGuard, Guard, Link, Watchdog};
use tokio::io::AsyncReadExt as _;

use crate::detach::lent::{Borrowed, Lent, Loan};
use crate::front;
use crate::wire::Wire;

/// For how long, and how much, is read on from a client that was refused.
const REFUSED_WAIT: Duration = Duration::from_secs(2);
const REFUSED_LEFT: usize = 1024 * 1024;
/// For how long is read on from a client whose connection ends because the server stops.
const STOPPING_WAIT: Duration = Duration::from_secs(1);

/// Where a connection's service leaves the answer that hyper shall not send, and where the socket
/// comes back to.
#[derive(Clone)]
pub(crate) struct Desk {
    answer: Rc<Cell<Option<Response>>>,
    loan: Arc<Loan>,
    limits: Arc<strict_http::Config>,
    /// What the socket's guard says, and is told.
    link: Arc<Link>,
    /// How many requests hyper has handed out, and how many of them are not answered.
    asked: Rc<Cell<u64>>,
    working: Rc<Cell<u64>>,
}

/// A request that is being answered.
pub(crate) struct Taken {
    /// Its number on this connection.
    number: u64,
    working: Rc<Cell<u64>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.working.set(self.working.get() - 1);
    }
}

/// How a connection ended that hyper has served.
pub(crate) enum End {
    /// All of it was hyper's.
    Served(hyper::Result<()>),
    /// The rest of it is this answer. hyper has sent all that came before.
    Left(Response),
}

/// Whether the answer to this request could leave hyper.
pub(crate) fn may_leave<B: http_body::Body>(request: &Request<B>) -> bool {
    request.method() == Method::GET && request.version() == Version::HTTP_11 && request.body().is_end_stream()
}

/// Whether this answer is an event stream that hyper would send in chunks.
pub(crate) fn leaves(answer: &Response) -> bool {
    let (headers, body) = (answer.headers(), answer.body());
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    answer.status() == StatusCode::OK
        && essence.eq_ignore_ascii_case("text/event-stream")
        && [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER].iter().all(|name| !headers.contains_key(name))
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
}

impl Desk {
    /// Returns the desk of a new connection.
    pub(crate) fn new(limits: &Arc<strict_http::Config>) -> Self {
        Self {
            answer: Rc::default(),
            loan: Arc::default(),
            limits: limits.clone(),
            link: Arc::default(),
            asked: Rc::default(),
            working: Rc::default(),
        }
    }

    /// Returns the socket as hyper shall have it.
    pub(crate) fn lend(&self, wire: Wire) -> TokioIo<Lent> {
        let guard = Guard::new(&self.limits, &self.link);
        TokioIo::new(Lent::new(Borrowed::new(wire, &self.loan), guard))
    }

    /// Returns the socket as hyper shall have it for HTTP/2.
    pub(crate) fn lend_http2(&self, wire: Wire) -> TokioIo<FrameGuard<Borrowed>> {
        TokioIo::new(FrameGuard::new(Borrowed::new(wire, &self.loan), &self.limits, &self.link))
    }

    /// Takes a request from hyper.
    pub(crate) fn take_in(&self, request: Request<Incoming>) -> (Request<Body>, Taken) {
        self.asked.set(self.asked.get() + 1);
        self.working.set(self.working.get() + 1);
        (front::take_in(request, &self.limits), Taken { number: self.asked.get(), working: self.working.clone() })
    }

    /// Lets an answer go to hyper. One that declines a WebSocket is the last of its connection: what follows it
    /// may be meant for another protocol. Nobody else gets a 101.
    pub(crate) fn give_out(&self, taken: &Taken, mut response: Response) -> Response {
        let agreed = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match (self.link.answered(taken.number, agreed), agreed) {
            (true, false) => {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            (false, true) => {
                response = Response::default();
                *response.status_mut() = StatusCode::BAD_GATEWAY;
            }
            _ => {}
        }
        response
    }

    /// Ends when nothing has been asked for as long as a connection may be idle. hyper sees to that for HTTP/1.1.
    pub(crate) async fn idle(&self) {
        loop {
            let before = self.asked.get();
            tokio::time::sleep(self.limits.keep_alive()).await;
            if self.asked.get() == before && self.working.get() == 0 {
                return;
            }
        }
    }

    /// Ends when no request is half here: hyper would not know of it, and close the connection.
    pub(crate) async fn between(&self) {
        while self.link.awaits_read() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a request has come.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.get() > 0
    }

    /// Closes a socket that hyper has dropped. Who is refused, or learns that the server stops, may still be
    /// sending: if nobody read on, the kernel would reset the connection, and with it what was answered (RFC 9112,
    /// section 9.6).
    pub(crate) async fn close(&self, stopping: bool) {
        let Some(mut wire) = self.take_back() else { return };
        let wait = match (self.link.has_refused(), stopping) {
            (true, _) => REFUSED_WAIT,
            (false, true) => STOPPING_WAIT,
            (false, false) => return,
        };
        let read_on = async {
            let mut left = REFUSED_LEFT;
            let mut room = [0; 2048];
            while left > 0 {
                match wire.read(&mut room).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
        };
        let _ = tokio::time::timeout(wait, read_on).await;
    }

    /// Leaves an answer for whoever drives the connection, and never returns: hyper waits for an answer
    /// until it is dropped, and so has nothing to send.
    pub(crate) async fn leave(&self, answer: Response) -> Infallible {
        self.answer.set(Some(answer));
        std::future::pending().await
    }

    /// Drives a connection until its end, or until an answer has been left and nothing of those before is
    /// still to be sent.
    pub(crate) async fn drive<C>(&self, mut connection: Pin<&mut C>) -> End
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut watchdog = Watchdog::new(self.link.clone());
        poll_fn(|context| {
            loop {
                if let Poll::Ready(served) = connection.as_mut().poll(context) {
                    return Poll::Ready(End::Served(served));
                }
                // Where the client has been waited for long enough, the guard says so when it is asked again.
                if watchdog.poll_due(context).is_pending() {
                    break;
                }
            }
            // Before it waits, hyper flushes or finds that it cannot; then it goes on when it can.
            if self.loan.blocked.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            self.answer.take().map_or(Poll::Pending, |answer| Poll::Ready(End::Left(answer)))
        })
        .await
    }

    /// Returns the socket, after hyper has dropped it.
    pub(crate) fn take_back(&self) -> Option<Wire> {
        self.loan.take_back()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn an_answer_waits_until_hyper_has_sent_what_came_before() {
        let desk = Desk::new(&Arc::default());
        let mut connection = std::pin::pin!(std::future::pending::<hyper::Result<()>>());
        assert!(desk.leave(Response::default()).now_or_never().is_none());
        desk.loan.blocked.store(true, Ordering::Relaxed);
        assert!(desk.drive(connection.as_mut()).now_or_never().is_none());
        desk.loan.blocked.store(false, Ordering::Relaxed);
        assert!(matches!(desk.drive(connection.as_mut()).now_or_never(), Some(End::Left(_))));
        assert!(desk.drive(connection.as_mut()).now_or_never().is_none());
    }

    #[test]
    fn only_whole_event_streams_leave() {
        let endless = || Body::from_stream(futures_util::stream::pending::<Result<&str, Infallible>>());
        let answer = |status: u16, media_type: &'static str, body: Body| {
            let mut answer = Response::new(body);
            *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            answer
        };
        assert!(leaves(&answer(200, "text/event-stream", endless())));
        assert!(leaves(&answer(200, "Text/Event-Stream; charset=utf-8", endless())));
        assert!(!leaves(&answer(200, "application/json", endless())));
        assert!(!leaves(&answer(200, "text/event-streams", endless())));
        assert!(!leaves(&answer(401, "text/event-stream", endless())));
        assert!(!leaves(&answer(200, "text/event-stream", Body::from("retry: 1\n\n"))), "its length is known");
        let mut sized = answer(200, "text/event-stream", endless());
        sized.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(!leaves(&sized));
    }
}
