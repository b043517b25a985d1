//! Gets a connection for an attempt: a pooled one, one it opens, or one it waits for. Not for sending.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::spawn_local;

use crate::attempt::Shot;
use crate::client::{Client, late_or};
use crate::config::Protocol;
use crate::connect;
use crate::failure::{Failure, FailureKind};
use crate::lease::{Lease, Link};
use crate::member::Speaks;
use crate::place::{Checkout, Given, Place};
use crate::pool::Pool;

/// How often an HTTP/2 connection with streams is asked whether it still lives, and how long it may take.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Runs hyper's parts of an HTTP/2 connection on this core.
#[derive(Clone, Copy)]
struct ThisCore;

impl<F> Executor<F> for ThisCore
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

/// A request in a pool's queue.
struct Waits<'a>(&'a Pool);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waited();
    }
}

impl Client {
    /// Gets a connection; `now` is the moment it was there.
    pub(crate) async fn lease(
        &self,
        shot: &Shot<'_>,
        pool: &Arc<Pool>,
        fresh: bool,
        now: &mut Instant,
    ) -> Result<Lease, Failure> {
        loop {
            let receiver = match pool.checkout(*now, fresh) {
                Checkout::Ready(lease) => return Ok(lease),
                Checkout::Dial(place) => return Box::pin(self.dial(shot, place, now)).await,
                Checkout::Full => return Err(Failure::new(FailureKind::Busy).retry_after(1)),
                Checkout::Wait(receiver) => receiver,
            };
            let waits = Waits(pool);
            let patience = *now + Duration::from_millis(shot.upstream.config.pool.queue_ms);
            let until = patience.min(shot.call.deadline);
            let given = tokio::time::timeout_at(until.into(), receiver).await;
            drop(waits);
            *now = Instant::now();
            match given {
                Ok(Ok(Given::Stream(lease))) if !shot.call.upgrade => return Ok(lease),
                Ok(Ok(Given::Link(link))) if !fresh => return Ok(Lease::link(pool.clone(), link, None, true)),
                Ok(Ok(Given::Place(place))) => return Box::pin(self.dial(shot, place, now)).await,
                // It is of no use here: its end makes room.
                Ok(_) => {}
                Err(_) if until == shot.call.deadline => return Err(Failure::new(FailureKind::Deadline)),
                Err(_) => return Err(Failure::new(FailureKind::Busy).retry_after(1)),
            }
        }
    }

    async fn dial(&self, shot: &Shot<'_>, place: Place, now: &mut Instant) -> Result<Lease, Failure> {
        let opened = self.open(shot, place).await;
        *now = Instant::now();
        opened.map_err(|failure| late_or(failure, *now, shot.call.deadline))
    }

    async fn open(&self, shot: &Shot<'_>, mut place: Place) -> Result<Lease, Failure> {
        let (upstream, upgrade) = (shot.upstream, shot.call.upgrade);
        let pool = place.pool().clone();
        let member = &pool.member;
        let left = shot.call.deadline.saturating_duration_since(Instant::now());
        let within = upstream.config.timeouts.connect().min(left);
        let tls = match &member.name {
            None => None,
            Some(_) => {
                let tls = upstream.tls().map_err(|error| Failure::caused(FailureKind::Tls, error))?;
                Some(if upgrade { tls.http1 } else { tls.any })
            }
        };
        let (wire, alpn_http2) = connect::open(member, tls.as_ref(), within).await?;
        let broken = |error| Failure::caused(FailureKind::Connect, error);
        let (sent, id) = (wire.sent.clone(), place.id);
        let io = TokioIo::new(wire);
        if upgrade {
            let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
            let task = spawn_local(async move { end(connection.with_upgrades().await) }).abort_handle();
            place.dialed();
            pool.opened_alone();
            let link = Link { id, sender, used: 0, idle_since: Instant::now(), sent, task };
            return Ok(Lease::single(link, place));
        }
        let tls_without_http2 = tls.is_some() && upstream.config.protocol == Protocol::Http2 && !alpn_http2;
        if tls_without_http2 {
            return Err(Failure::caused(FailureKind::Tls, "the server does not speak HTTP/2"));
        }
        if pool.starts_reaping() {
            spawn_local(pool.clone().reap());
        }
        if alpn_http2 || (tls.is_none() && member.speaks() == Speaks::Http2) {
            let allowed = Arc::new(AtomicUsize::new(upstream.config.pool.max_streams));
            let (sender, connection) = http2::Builder::new(ThisCore)
                .timer(TokioTimer::new())
                .keep_alive_interval(PING.0)
                .keep_alive_timeout(PING.1)
                .adaptive_window(true)
                .handshake(io)
                .await
                .map_err(broken)?;
            member.learn(Speaks::Http2);
            place.dialed();
            let peer = allowed.clone();
            spawn_local(async move {
                let _place = place;
                let mut connection = pin!(connection);
                end(poll_fn(|cx| {
                    let polled = connection.as_mut().poll(cx);
                    if polled.is_pending() {
                        peer.store(connection.current_max_send_streams(), Ordering::Relaxed);
                    }
                    polled
                })
                .await);
            });
            return Ok(pool.shared(id, sender, allowed, Instant::now()));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
        if member.speaks() == Speaks::Unknown {
            member.learn(Speaks::Http1);
        }
        place.dialed();
        let task = spawn_local(async move {
            let _place = place;
            end(connection.await);
        });
        Ok(pool.opened(id, sender, task.abort_handle(), sent, Instant::now()))
    }
}

/// Requests have been told of what broke their connection; this is for who looks closely.
fn end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection to a server broke");
    }
}
