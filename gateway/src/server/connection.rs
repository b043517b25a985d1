//! One connection of a client, from its first byte to its end: TLS, the version of HTTP, the requests, and
//! how it ends. Not for what happens to a request.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::header::{CONNECTION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use web::PeerAddress;

use crate::detach::{self, Desk, End};
use crate::door::Door;
use crate::event_stream::EventStream;
use crate::server::drain::IDLE_GRACE;
use crate::server::greeting::{self, Met};
use crate::tls::{OverTls, Tls};

/// How long a client may leave unacknowledged what was sent to it, or its window shut: a stream's heartbeats
/// would otherwise go to a peer that is gone for as long as the kernel likes to try.
const PEER_GONE: Duration = Duration::from_secs(30);

/// Runs the tasks of HTTP/2 connections on their own core.
#[derive(Clone, Copy)]
struct OnThisCore;

impl<F> hyper::rt::Executor<F> for OnThisCore
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// How the versions of HTTP are spoken.
#[derive(Clone)]
struct Http {
    one: http1::Builder,
    two: http2::Builder<OnThisCore>,
}

impl Http {
    fn new(limits: &strict_http::Config) -> Self {
        let (mut one, mut two) = (http1::Builder::new(), http2::Builder::new(OnThisCore));
        one.timer(TokioTimer::new())
            // From the end of an answer; how long a head takes that has begun is its guard's matter.
            .header_read_timeout(limits.keep_alive())
            .max_headers(usize::from(limits.headers))
            // The guard refuses what is too large before hyper has all of it.
            .max_buf_size(limits.head_bytes + 8 * 1024)
            .half_close(false);
        two.timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(20)
            // Streams that a client makes us reset (MadeYouReset), as long as the connection lasts.
            .max_local_error_reset_streams(100)
            // For each stream of a client that does not read.
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        Self { one, two }
    }
}

/// What the connections of a core have in common.
pub(super) struct Reception {
    http: Http,
    current: Rc<RefCell<Rc<Door>>>,
    limits: Arc<strict_http::Config>,
    tls: Option<Tls>,
    /// Whether each answer is the last of its connection.
    closing: Rc<Cell<bool>>,
    /// Whether idle connections end. Each connection holds a receiver for as long as it is open.
    ending: watch::Sender<bool>,
}

/// Answers the requests of one connection.
struct Attendant {
    current: Rc<RefCell<Rc<Door>>>,
    closing: Rc<Cell<bool>>,
    desk: Desk,
    peer: SocketAddr,
    tls: Option<Tls>,
}

impl Reception {
    pub(super) fn new(current: Rc<RefCell<Rc<Door>>>, limits: Arc<strict_http::Config>, tls: Option<Tls>) -> Self {
        let (http, ending) = (Http::new(&limits), watch::Sender::new(false));
        Self { http, current, limits, tls, closing: Rc::default(), ending }
    }

    /// Serves a client until its connection ends.
    pub(super) fn attend(&self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(PEER_GONE));
        let (current, closing, desk) = (self.current.clone(), self.closing.clone(), Desk::new(&self.limits));
        let attendant =
            Attendant { current, closing: closing.clone(), desk: desk.clone(), peer, tls: self.tls.clone() };
        let (http, mut ended, patience) = (self.http.clone(), self.ending.subscribe(), self.limits.header_timeout());
        tokio::task::spawn_local(async move {
            let Some(met) = greeting::meet(stream, attendant.tls.as_ref(), patience, &mut ended).await else { return };
            let (Met { wire, http2 }, since) = (met, Instant::now());
            let answer = service_fn(move |request| attendant.answer(request));
            let end = if http2 {
                // In a box: what it takes would be kept free in the tasks of all the others.
                let mut connection = Box::pin(http.two.serve_connection(desk.lend_http2(wire), answer));
                tokio::select! {
                    end = desk.drive(connection.as_mut()) => end,
                    _ = async { tokio::select! { _ = ended.wait_for(|ended| *ended) => {}, () = desk.idle() => {} } } => {
                        connection.as_mut().graceful_shutdown();
                        desk.drive(connection.as_mut()).await
                    }
                }
            } else {
                let connection = http.one.serve_connection(desk.lend(wire), answer);
                let mut connection = std::pin::pin!(connection.with_upgrades());
                tokio::select! {
                    end = desk.drive(connection.as_mut()) => end,
                    () = async {
                        let _ = ended.wait_for(|ended| *ended).await;
                        // Its TLS may have taken all the time that others had for a request.
                        if !desk.was_asked() {
                            tokio::time::sleep_until(since + IDLE_GRACE).await;
                        }
                        desk.between().await;
                    } => {
                        connection.as_mut().graceful_shutdown();
                        desk.drive(connection.as_mut()).await
                    }
                }
            };
            match end {
                End::Served(Ok(())) => {}
                End::Served(Err(error)) => tracing::debug!(error = %error, "a connection ended with an error"),
                // In a task of its own, which is small; this one has room for hyper.
                End::Left(answer) => {
                    if let Some(wire) = desk.take_back() {
                        tokio::task::spawn_local(EventStream::new(wire, answer, ended));
                    }
                    return;
                }
            }
            desk.close(closing.get()).await;
            // Until here it counts as open.
            drop(ended);
        });
    }

    /// Makes the next answer of each connection its last.
    pub(super) fn say_last(&self) {
        self.closing.set(true);
    }

    /// Whether a connection is open.
    pub(super) fn is_busy(&self) -> bool {
        self.ending.receiver_count() > 0
    }

    /// Ends connections that are idle, and waits for the others; returns whether all have ended in time.
    pub(super) async fn end(self, limit: Duration) -> bool {
        self.ending.send_replace(true);
        tokio::time::timeout(limit, self.ending.closed()).await.is_ok()
    }
}

impl Attendant {
    /// Has the door that stands now answer.
    // In a box, which goes with the answer's head: hyper keeps room for the future itself as long as
    // the connection lasts, and a stream's lasts long.
    fn answer(
        &self,
        request: hyper::Request<Incoming>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response, Infallible>>>> {
        let (door, closing, desk) = (self.current.borrow().clone(), self.closing.clone(), self.desk.clone());
        let (peer, tls) = (self.peer, self.tls.clone());
        upstream::boxed(|| async move {
            let (version, may_leave) = (request.version(), detach::may_leave(&request));
            let (mut request, taken) = desk.take_in(request);
            request.extensions_mut().insert(PeerAddress(peer));
            if tls.is_some() {
                request.extensions_mut().insert(OverTls);
            }
            let mut response = door.handle(request).await;
            if let Some(hsts) = tls.as_ref().and_then(Tls::hsts) {
                response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
            }
            if may_leave && detach::leaves(&response) {
                match desk.leave(response).await {}
            }
            response = desk.give_out(&taken, response);
            if closing.get() && version < Version::HTTP_2 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}
