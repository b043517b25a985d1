//! One attempt: choose a server, get a connection, send, wait for the head of the answer. A pooled
//! connection that turns out to be dead is replaced once without counting as a retry. Not for retries.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::answer::Answer;
use crate::balance::Choice;
use crate::call::{Call, is_safe};
use crate::client::{Answered, Client};
use crate::config::Balance;
use crate::failure::{Failure, FailureKind};
use crate::lease::{Lease, Line};
use crate::member::{InFlight, Member};
use crate::outgoing::{Outgoing, Stage, Upload};
use crate::prepare;
use crate::tenants::TenantState;
use crate::upstream::Upstream;
use crate::watch::Watch;

/// Connections that may be found dead before a request gives up.
const REPLACEMENTS: u32 = 3;

/// What all attempts of a request have in common.
pub(crate) struct Shot<'a> {
    pub upstream: &'a Arc<Upstream>,
    pub call: &'a Call,
    pub began: Instant,
}

/// What an attempt of several knows of the others.
pub(crate) struct Among<'a> {
    pub state: Option<&'a Arc<TenantState>>,
    /// Where the attempt says which server it chose.
    pub chosen: &'a Cell<Option<u64>>,
    pub now: Instant,
}

/// A sending that brought no answer, and the request when no byte of it was sent.
struct Missed {
    failure: Failure,
    unsent: Option<Request<Outgoing>>,
}

impl Client {
    /// Makes an attempt at a server that is not among those `tried`.
    pub(crate) async fn attempt(
        &self,
        shot: &Shot<'_>,
        mut request: Request<Outgoing>,
        upload: Option<Arc<Upload>>,
        tried: &[u64],
        among: Option<&Among<'_>>,
    ) -> (Option<u64>, Answered) {
        let (upstream, call) = (shot.upstream, shot.call);
        let mut now = among.map_or(shot.began, |among| among.now);
        let mut watch = match Watch::admit(upstream, call.tenant, among.and_then(|among| among.state), now) {
            Ok(watch) => watch,
            Err(failure) => {
                upstream.metrics.failed(failure.kind());
                return (None, Err(failure));
            }
        };
        let Some(member) = self.choose(upstream, tried, now) else {
            upstream.metrics.failed(FailureKind::NoServer);
            return (None, Err(Failure::new(FailureKind::NoServer).retry_after(2)));
        };
        let id = Some(member.id);
        if let Some(among) = among {
            among.chosen.set(id);
        }
        let in_flight = InFlight::new(&member);
        let repeatable = is_safe(request.method()) && upload.is_none();
        let pool = self.pool(upstream, &member);
        let (mut fresh, mut replaced, mut connected) = (call.upgrade, 0, false);
        let answered = loop {
            let mut lease = match self.lease(shot, &pool, fresh, &mut now).await {
                Ok(lease) => lease,
                Err(failure) => break Err(failure),
            };
            connected = true;
            watch.connected(now);
            if let Some(header) = &upstream.deadline_header {
                prepare::set_deadline(request.headers_mut(), header, now, call.deadline);
            }
            let spare = (lease.reused && repeatable).then(|| prepare::copy(&request));
            match self.exchange(shot, &mut lease, &member, request, upload.as_deref(), now).await {
                Ok(response) => break Ok((response, lease)),
                Err(Missed { failure, unsent }) => {
                    let dead = failure.kind() == FailureKind::Reset && replaced < REPLACEMENTS;
                    // Unsent, it can go elsewhere whatever it is; sent, only once and only if that is safe.
                    let again = unsent.or(if replaced == 0 { spare } else { None });
                    match again.filter(|_| dead && lease.reused) {
                        Some(again) => request = again,
                        None => break Err(failure),
                    }
                    upstream.metrics.replaced.inc();
                    (fresh, replaced, now) = (true, replaced + 1, Instant::now());
                }
            }
        };
        let sent = now;
        now = Instant::now();
        let (response, lease) = match answered {
            Ok(answered) => answered,
            Err(failure) => {
                watch.failed(&member, failure.kind(), connected, now);
                return (id, Err(failure));
            }
        };
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS && !call.upgrade {
            watch.failed(&member, FailureKind::Protocol, connected, now);
            let failure = Failure::caused(FailureKind::Protocol, "the server changed the protocol unasked");
            return (id, Err(failure));
        }
        if upstream.config.balance == Balance::P2c {
            member.latency.observe(now, now.saturating_duration_since(sent));
        }
        if call.hedge {
            upstream.percentiles.observe(now.saturating_duration_since(sent));
        }
        watch.answered(&member, status, now);
        (id, Ok(response.map(|incoming| Answer::new(incoming, lease, in_flight, upload, now))))
    }

    fn choose(&self, upstream: &Upstream, tried: &[u64], now: Instant) -> Option<Arc<Member>> {
        let members = upstream.members.load();
        let choice = Choice {
            balance: upstream.config.balance,
            members: &members,
            turn: &upstream.turn,
            random: &self.0.random,
            tick: upstream.tick(now),
            now,
            tried,
            panic: upstream.config.health.panic,
        };
        choice.pick().cloned()
    }

    async fn exchange(
        &self,
        shot: &Shot<'_>,
        lease: &mut Lease,
        member: &Member,
        mut request: Request<Outgoing>,
        upload: Option<&Upload>,
        now: Instant,
    ) -> Result<Response<Incoming>, Missed> {
        let host = shot.upstream.config.host;
        let missed = |failure| Missed { failure, unsent: None };
        match lease.line() {
            Some(Line::Link(link)) => {
                prepare::as_http1(&mut request, member, host).map_err(missed)?;
                let sending = link.sender.try_send_request(request);
                head(shot, lease, sending, upload, now).await
            }
            Some(Line::Stream(stream)) => {
                prepare::as_http2(&mut request, member, host).map_err(missed)?;
                let sending = stream.sender.try_send_request(request);
                head(shot, lease, sending, upload, now).await
            }
            None => Err(Missed { failure: Failure::new(FailureKind::Reset), unsent: Some(request) }),
        }
    }
}

/// Waits for the head of the answer, with the connection's own timer.
async fn head(
    shot: &Shot<'_>,
    lease: &mut Lease,
    sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>>,
    upload: Option<&Upload>,
    now: Instant,
) -> Result<Response<Incoming>, Missed> {
    let mut sending = pin!(sending);
    poll_fn(|cx| {
        if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
            return Poll::Ready(sent.map_err(|mut error| {
                let unsent = error.take_message();
                Missed { failure: classify(error.into_error(), upload), unsent }
            }));
        }
        loop {
            let due = due(shot, upload, now);
            ready!(lease.poll_late(cx, due));
            // An upload went on meanwhile.
            if self::due(shot, upload, now) > due {
                continue;
            }
            let kind = match upload.map(Upload::stage) {
                _ if due >= shot.call.deadline => FailureKind::Deadline,
                Some(Stage::Client) => FailureKind::RequestStalled,
                _ => FailureKind::FirstByteTimeout,
            };
            return Poll::Ready(Err(Missed { failure: Failure::new(kind), unsent: None }));
        }
    })
    .await
}

/// Returns when the next thing must have happened: during an upload its next part, after it the answer.
fn due(shot: &Shot<'_>, upload: Option<&Upload>, sent: Instant) -> Instant {
    let upstream = shot.upstream;
    let next = match upload.map(|upload| (upload.stage(), upload.last())) {
        None => sent + upstream.first_byte,
        Some((Stage::Done, last)) => last + upstream.first_byte,
        Some((_, last)) => match upstream.body_idle {
            Some(idle) => last + idle,
            None => shot.call.deadline,
        },
    };
    next.min(shot.call.deadline)
}

fn classify(error: hyper::Error, upload: Option<&Upload>) -> Failure {
    if let Some(upload) = upload
        && upload.stage() == Stage::Broken
    {
        return match upload.take_error() {
            Some(why) => Failure::caused(FailureKind::RequestBroken, why),
            None => Failure::caused(FailureKind::RequestBroken, error),
        };
    }
    let kind = if error.is_body_write_aborted() {
        FailureKind::RequestBroken
    } else if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
        FailureKind::Protocol
    } else {
        FailureKind::Reset
    };
    Failure::caused(kind, error)
}
