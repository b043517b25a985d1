//! One attempt: choose a server, get a connection, send, wait for the head of the answer. A pooled
//! connection that turns out to be dead is replaced once without counting as a retry. Not for retries.

use std::cell::Cell;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use futures_util::future::Either;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::answer::Answer;
use crate::balance::Choice;
use crate::call::{Call, is_safe};
use crate::client::{Answered, Client};
use crate::config::Balance;
use crate::failure::{Failure, FailureKind};
use crate::lease::{Lease, Line};
use crate::member::{InFlight, Member};
use crate::outgoing::Outgoing;
use crate::pool::Pool;
use crate::prepare;
use crate::tenants::TenantState;
use crate::upload::{Stage, Upload};
use crate::uploads::Sender;
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
    /// Whether the head is to be there again where another attempt may want it.
    pub recalls: bool,
}

/// A sending that brought no answer, and the request when no byte of it was sent.
struct Missed {
    failure: Failure,
    /// Boxed, because the answer's way is the same and it is large.
    unsent: Option<Box<Request<Outgoing>>>,
}

impl Client {
    /// Makes an attempt at a server that is not among those `tried`. What it leaves of the request can go into
    /// another one.
    pub(crate) async fn attempt(
        &self,
        shot: &Shot<'_>,
        request: &mut Option<Request<Outgoing>>,
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
        let observed = match (&call.observer, request.as_mut()) {
            (Some(observer), Some(request)) => prepare::announce(observer, request, &member),
            _ => None,
        };
        let end = |outcome| observed.map(|observed| observed.ended(outcome));
        let safe = request.as_ref().is_some_and(|request| is_safe(request.method()));
        let recalls = among.is_some_and(|among| among.recalls);
        let pool = self.pool(upstream, &member);
        if let Some(upload) = &upload
            && let Err(failure) = share(upstream, call, &pool, upload)
        {
            upstream.metrics.failed(failure.kind());
            end(Err(failure.kind()));
            return (id, Err(failure));
        }
        let (mut fresh, mut replaced, mut connected, mut took) = (call.upgrade, 0, false, None);
        let answered = loop {
            let mut lease = match self.lease(shot, &pool, fresh, &mut now).await {
                Ok(lease) => lease,
                Err(failure) => break Err((failure, upload)),
            };
            connected = true;
            watch.connected(now);
            match self.exchange(shot, &mut lease, &member, request, upload.as_deref(), (safe, recalls), now).await {
                Ok(response) => {
                    if recalls && upstream.config.retry.statuses.contains(&response.status().as_u16()) {
                        *request = request.take().or_else(|| lease.sent());
                    }
                    let sent = std::mem::replace(&mut now, Instant::now());
                    // The server's time begins when it has all of the request.
                    let asked = upload.as_deref().map_or(Some(sent), |upload| upload.finished().map(|at| at.max(sent)));
                    took = asked.map(|asked| now.saturating_duration_since(asked));
                    // On a connection that spoke 1.0 hyper does so too, and drops bodies of unknown length.
                    let spoke_http1_0 = response.version() == Version::HTTP_10;
                    lease.keep &= !spoke_http1_0 && response.status() != StatusCode::SWITCHING_PROTOCOLS;
                    break Ok(response.map(|body| Box::new(Answer::new(body, lease, in_flight, upload, now))));
                }
                Err(Missed { failure, unsent }) => {
                    let refused = failure.kind() == FailureKind::Refused;
                    let dead = lease.reused && (refused || failure.kind() == FailureKind::Reset);
                    let dead = dead && replaced < REPLACEMENTS;
                    // Unsent or refused, it can go elsewhere whatever it is; else only once and only if that is safe.
                    let again = unsent.is_some() || refused || replaced == 0 && safe;
                    *request = unsent.map(|unsent| *unsent).or_else(|| lease.sent()).or_else(|| request.take());
                    if !dead || !again || request.is_none() {
                        break Err((failure, upload));
                    }
                    upstream.metrics.replaced.inc();
                    (fresh, replaced, now) = (true, replaced + 1, Instant::now());
                }
            }
        };
        let response = match answered {
            Ok(response) => response,
            Err((failure, upload)) => {
                now = Instant::now();
                let kind = failure.kind();
                let excused =
                    call.own && kind == FailureKind::Deadline || upload.is_some_and(|upload| upload.excuses(kind, now));
                watch.failed(&member, kind, connected && !excused, now);
                end(Err(kind));
                return (id, Err(failure));
            }
        };
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS && !call.upgrade {
            watch.failed(&member, FailureKind::Protocol, connected, now);
            end(Err(FailureKind::Protocol));
            let failure = Failure::caused(FailureKind::Protocol, "the server changed the protocol unasked");
            return (id, Err(failure));
        }
        if let Some(took) = took {
            if upstream.config.balance == Balance::P2c {
                member.latency.observe(now, took);
            }
            if call.hedge {
                upstream.percentiles.observe(took);
            }
        }
        watch.answered(&member, status, call.own || !status.is_server_error(), now);
        end(Ok(status));
        (id, Ok(response))
    }

    fn choose(&self, upstream: &Upstream, tried: &[u64], now: Instant) -> Option<Arc<Member>> {
        let members = upstream.members.load();
        let choice = Choice {
            balance: upstream.config.balance,
            members: &members,
            turn: &upstream.turn,
            random: &self.0.random,
            now,
            since: upstream.since,
            tried,
            panic: upstream.config.health.panic,
        };
        choice.pick().cloned()
    }

    /// Sends a request and waits for the head of its answer. One that must not be lost to a connection that
    /// was dead all the time stays behind: with the connection, or as a copy where it was. A `safe` one must not;
    /// over HTTP/2 none must, for the server may say that it did nothing with it; nor one that another attempt
    /// `recalls`.
    #[expect(clippy::too_many_arguments, reason = "it is a part of `attempt`, which it keeps readable")]
    async fn exchange(
        &self,
        shot: &Shot<'_>,
        lease: &mut Lease,
        member: &Member,
        request: &mut Option<Request<Outgoing>>,
        upload: Option<&Upload>,
        (safe, recalls): (bool, bool),
        now: Instant,
    ) -> Result<Response<Incoming>, Missed> {
        let (host, reused) = (shot.upstream.config.host, lease.reused);
        let missed = |failure| Missed { failure, unsent: None };
        let reset = || missed(Failure::new(FailureKind::Reset));
        let message = request.as_mut().ok_or_else(reset)?;
        let mut spare = None;
        match lease.line() {
            Some(Line::Link(link)) => {
                link.sent.keep(upload.is_none() && (recalls || reused && safe));
                prepare::as_http1(message, member, host).map_err(missed)?;
            }
            Some(Line::Stream(_)) => {
                prepare::as_http2(message, member, host).map_err(missed)?;
                spare = (upload.is_none() && (recalls || reused)).then(|| prepare::copy(message));
            }
            None => return Err(reset()),
        }
        if let Some(header) = &shot.upstream.deadline_header {
            message.headers_mut().insert(header.clone(), self.left(now, shot.call.told_deadline()));
        }
        let message = std::mem::replace(request, spare).ok_or_else(reset)?;
        let mut sending = pin!(match lease.line() {
            Some(Line::Link(link)) => Either::Left(link.sender.try_send_request(message)),
            Some(Line::Stream(stream)) => Either::Right(stream.sender.try_send_request(message)),
            None => return Err(reset()),
        });
        // The head of the answer, with the connection's own timer.
        poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(sent.map_err(|mut error| {
                    let unsent = error.take_message().map(Box::new);
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
                    Some(Stage::Client) => FailureKind::RequestStalled,
                    _ if due >= shot.call.deadline => FailureKind::Deadline,
                    _ => FailureKind::FirstByteTimeout,
                };
                return Poll::Ready(Err(missed(Failure::new(kind))));
            }
        })
        .await
    }
}

/// Counts an upload among those of its sender, or refuses it.
fn share(upstream: &Upstream, call: &Call, pool: &Pool, upload: &Upload) -> Result<(), Failure> {
    let sender = Sender::of(call);
    let held = upstream.uploads.enter(sender, upstream.most_uploads).zip(pool.upload(sender));
    let (place, connection) = held.ok_or_else(|| Failure::new(FailureKind::Busy).retry_after(1))?;
    upload.hold([place, connection]);
    Ok(())
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
    } else if refuses(&error) {
        FailureKind::Refused
    } else {
        FailureKind::Reset
    };
    Failure::caused(kind, error)
}

/// Says whether the server has said that it did not act on the request: its stream is beyond the last one that
/// GOAWAY names, or was reset with REFUSED_STREAM (RFC 9113, section 8.7).
fn refuses(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else { return false };
    // h2 fails a stream with GOAWAY only when it is beyond the last; those before go on. hyper (1.12) does so too with
    // one that it has just sent, but only where another thread reads the connection meanwhile: here all is on one core.
    error.is_remote()
        && (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
            || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
