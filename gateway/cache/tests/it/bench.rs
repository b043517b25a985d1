//! A cache, a policy, a clock and an origin that does as it is told. Not for sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use http_cache::{Cache, Config, Outcome, Policy, PolicyConfig, Route, Scope};
use kernel::{Clock, Error, Result, Timestamp};
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// What the origin answers once.
pub enum Reply {
    Answer(Response<Body>),
    Fail,
    /// Only when this is notified.
    Later(Rc<Notify>, Response<Body>),
}

type Usual = Box<dyn Fn(&Request<Body>) -> Response<Body>>;

/// The origin: it counts, remembers, and answers from its list, of which the last goes on.
#[derive(Default)]
pub struct Origin {
    pub seen: Vec<(Method, String, HeaderMap)>,
    pub replies: VecDeque<Reply>,
    pub usual: Option<Usual>,
}

#[derive(Clone)]
pub struct Bench {
    pub cache: Cache,
    pub policy: Arc<Policy>,
    pub scope: Scope,
    pub clock: Clock,
    pub origin: Rc<RefCell<Origin>>,
}

/// An answer that has been read.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub outcome: Outcome,
}

pub fn reply(lines: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    status(200, lines, body)
}

pub fn status(code: u16, lines: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let builder = lines.iter().fold(Response::builder().status(code), |builder, (name, value)| builder.header(*name, *value));
    builder.body(body.into()).expect("a response")
}

pub fn get(path: &str) -> Request<Body> {
    ask("GET", path, &[])
}

pub fn ask(method: &str, path: &str, lines: &[(&str, &str)]) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path).header("host", "api.example");
    let builder = lines.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::empty()).expect("a request")
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Config::default(), PolicyConfig::default())
    }

    pub fn with(config: Config, policy: PolicyConfig) -> Self {
        Self::with_clock(config, policy, Clock::manual(Timestamp(1_795_219_200_000_000)))
    }

    pub fn with_clock(config: Config, policy: PolicyConfig, clock: Clock) -> Self {
        Self {
            cache: Cache::new(&config, clock.clone(), &tokio::runtime::Handle::current()).expect("a good configuration"),
            policy: Arc::new(Policy::compile(&policy).expect("a good policy")),
            scope: Scope::public(false),
            clock,
            origin: Rc::default(),
        }
    }

    /// Adds what the origin answers next.
    pub fn next(&self, reply: Response<Body>) -> &Self {
        self.origin.borrow_mut().replies.push_back(Reply::Answer(reply));
        self
    }

    pub fn next_fails(&self) -> &Self {
        self.origin.borrow_mut().replies.push_back(Reply::Fail);
        self
    }

    /// Adds an answer that comes when the returned is notified.
    pub fn next_later(&self, reply: Response<Body>) -> Rc<Notify> {
        let gate = Rc::new(Notify::new());
        self.origin.borrow_mut().replies.push_back(Reply::Later(gate.clone(), reply));
        gate
    }

    pub fn always(&self, answer: impl Fn(&Request<Body>) -> Response<Body> + 'static) {
        self.origin.borrow_mut().usual = Some(Box::new(answer));
    }

    pub fn fetches(&self) -> usize {
        self.origin.borrow().seen.len()
    }

    pub fn last_seen(&self) -> (Method, String, HeaderMap) {
        self.origin.borrow().seen.last().expect("the origin was asked").clone()
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.shift(seconds * 1_000_000);
    }

    pub async fn raw(&self, request: Request<Body>) -> Result<Response<Body>> {
        let origin = self.origin.clone();
        let fetch = move |request: Request<Body>| {
            let origin = origin.clone();
            async move { respond(&origin, request).await }
        };
        let parameter = |name: &str| (name == "id").then(|| "7".to_owned());
        let route = Route { policy: &self.policy, scope: &self.scope, parameter: &parameter };
        self.cache.answer(&route, request, fetch).await
    }

    pub async fn send(&self, request: Request<Body>) -> Got {
        let response = self.raw(request).await.expect("an answer");
        let outcome = *response.extensions().get::<Outcome>().expect("an outcome");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Got { status: parts.status.as_u16(), headers: parts.headers, body, outcome }
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send(get(path)).await
    }
}

async fn respond(origin: &Rc<RefCell<Origin>>, request: Request<Body>) -> Result<Response<Body>> {
    let seen = (request.method().clone(), request.uri().to_string(), request.headers().clone());
    origin.borrow_mut().seen.push(seen);
    let next = origin.borrow_mut().replies.pop_front();
    match next {
        Some(Reply::Answer(response)) => Ok(response),
        Some(Reply::Later(gate, response)) => {
            gate.notified().await;
            Ok(response)
        }
        Some(Reply::Fail) => Err(Error::unavailable("gateway.upstream_failed", "it is away").status_code(502)),
        None => match &origin.borrow().usual {
            Some(usual) => Ok(usual(&request)),
            None => panic!("the origin was not told what to answer to {} {}", request.method(), request.uri()),
        },
    }
}

/// Runs a test in a LocalSet; one that hangs fails.
pub fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test took too long");
    });
}

/// Lets everything run that can.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
