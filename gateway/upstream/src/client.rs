//! One core's way to all upstreams: it takes a request and brings the answer. A plain request takes the
//! short way through here and [`crate::attempt`]; retries and hedges are a way of their own. Not for which
//! upstream a route has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;

use crate::answer::{Answer, Tunnel};
use crate::attempt::Shot;
use crate::boxed::boxed;
use crate::call::{Call, is_safe};
use crate::failure::{Failure, FailureKind};
use crate::member::Member;
use crate::outgoing::Outgoing;
use crate::place::Limits;
use crate::pool::Pool;
use crate::prepare;
use crate::random::Random;
use crate::upload::Upload;
use crate::uploads::share_of;
use crate::upstream::Upstream;

/// One core's client. Cheap to clone; it stays on its core, inside a `LocalSet`.
#[derive(Clone)]
pub struct Client(pub(crate) Rc<Core>);

pub(crate) struct Core {
    pools: RefCell<HashMap<u64, Arc<Pool>, BuildHasherDefault<AsItIs>>>,
    pub random: Random,
    cores: usize,
    /// The time that was left last, as a header says it: mostly it is the same again.
    left: RefCell<(u64, HeaderValue)>,
}

/// Hashes the numbers of members, which are as good as hashes.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The table takes its control bits from the top.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Client {
    /// Returns the client of one of so many cores.
    pub fn new(cores: usize) -> Self {
        let left = RefCell::new((0, HeaderValue::from_static("0")));
        Self(Rc::new(Core { pools: RefCell::default(), random: Random::default(), cores: cores.max(1), left }))
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// The request's target is a path with its query, its headers are free of those that concern one
    /// connection. Dropping the future, or the answer's body, ends the work at the server's side too.
    pub async fn send(
        &self,
        upstream: &Arc<Upstream>,
        mut request: Request<Body>,
        call: &Call,
    ) -> Result<Response<Body>, Failure> {
        let began = Instant::now();
        prepare::check(&mut request, call.upgrade)?;
        let permit = match upstream.bulkhead.try_enter() {
            Some(permit) => permit,
            None => {
                let state = upstream.bulkhead.shares().then(|| upstream.tenants.state(call.tenant)).flatten();
                upstream.bulkhead.enter(state, call.deadline).await?
            }
        };
        let shot = Shot { upstream, call, began };
        let retries = call.retry && upstream.config.retry.max_attempts > 1 && !call.upgrade;
        let hedges = call.hedge && is_safe(request.method()) && request.body().is_end_stream() && !call.upgrade;
        let mut response = if retries || hedges {
            let (parts, body) = request.into_parts();
            boxed(|| self.persist(&shot, parts, body, retries, hedges)).await?
        } else {
            let upload = (!request.body().is_end_stream())
                .then(|| Upload::new(began, prepare::stated_length(request.headers())));
            let mut request = Some(request.map(|body| match &upload {
                None => Outgoing::Empty,
                Some(upload) => Outgoing::Once(body, upload.clone()),
            }));
            self.attempt(&shot, &mut request, upload, &[], None).await.1?
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (mut parts, answer) = response.into_parts();
            parts.extensions.insert(Tunnel::new(*answer, permit));
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        let until = call.deadline_covers_body.then_some(call.deadline);
        response.body_mut().bound(upstream.body_idle.filter(|_| !call.live), until, permit);
        Ok(response.map(Body::new))
    }

    /// Returns how much time is left, for a header.
    pub(crate) fn left(&self, now: Instant, deadline: Instant) -> HeaderValue {
        let left = prepare::left(now, deadline);
        let mut last = self.0.left.borrow_mut();
        if last.0 != left {
            *last = (left, HeaderValue::from(left));
        }
        last.1.clone()
    }

    /// Returns this core's connections to a server.
    pub(crate) fn pool(&self, upstream: &Upstream, member: &Arc<Member>) -> Arc<Pool> {
        let mut pools = self.0.pools.borrow_mut();
        if let Some(pool) = pools.get(&member.id) {
            return pool.clone();
        }
        pools.retain(|_, pool| !pool.member.retired.load(Ordering::Relaxed));
        let config = &upstream.config.pool;
        let connections = (config.max_connections / self.0.cores).max(1);
        let limits = Limits {
            connections,
            uploads: share_of(upstream.config.bulkhead.upload_share(), connections),
            queue: config.queue,
            idle: config.idle(),
            requests: config.max_requests,
            streams: config.max_streams,
        };
        let metrics = &upstream.metrics;
        let pool = Pool::new(member.clone(), limits, metrics.connections.clone(), metrics.waiting.clone());
        pools.insert(member.id, pool.clone());
        pool
    }
}

/// An answer that was read, or why there is none.
/// Boxed, because it passes through many hands.
pub(crate) type Answered = Result<Response<Box<Answer>>, Failure>;

/// Says whether an answer is one to give to the client without a second thought.
pub(crate) fn is_good(answered: &Answered) -> bool {
    answered.as_ref().is_ok_and(|response| !response.status().is_server_error())
}

/// Returns the failure of a request whose time is over, or the one it met.
pub(crate) fn late_or(failure: Failure, now: Instant, deadline: Instant) -> Failure {
    match now >= deadline && matches!(failure.kind(), FailureKind::ConnectTimeout | FailureKind::FirstByteTimeout) {
        true => Failure::new(FailureKind::Deadline),
        false => failure,
    }
}
