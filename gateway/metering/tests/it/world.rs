//! A metered route in memory: a plan, a ledger, callers, and origins that say what a test tells them to.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use kernel::{Clock, Result, TenantId, Timestamp};
use metering::{Call, Caller, Config, Ledger, MemoryLedger, Metering, Plan};
use tokio::sync::mpsc;

pub struct World {
    pub clock: Clock,
    pub ledger: Arc<MemoryLedger>,
    pub metering: Metering,
    pub plan: Plan,
}

pub fn start() -> Timestamp {
    Timestamp::parse("2026-11-21T12:00:00Z").expect("a time")
}

impl World {
    pub fn new(settings: &str) -> Self {
        let clock = Clock::manual(start());
        let ledger = Arc::new(MemoryLedger::new(clock.clone()));
        Self::over(settings, clock, ledger.clone(), ledger)
    }

    pub fn over(settings: &str, clock: Clock, memory: Arc<MemoryLedger>, ledger: Arc<dyn Ledger>) -> Self {
        let metering = Metering::new(ledger, tokio::runtime::Handle::current());
        let config: Config = toml::from_str(settings).expect("settings");
        Self { clock, ledger: memory, metering, plan: config.compile().expect("a plan") }
    }

    pub async fn begin(&self, caller: &Caller, path: &str, body: &str) -> Result<(Request<Body>, Call)> {
        let request = Request::post(path).header("content-type", "application/json; charset=utf-8");
        let request = request.header("content-length", body.len()).body(Body::from(body.to_owned())).expect("a request");
        self.metering.begin(&self.plan, caller.clone(), request).await
    }
}

pub fn caller(name: &str) -> Caller {
    caller_of(TenantId::new(), name)
}

pub fn caller_of(tenant: TenantId, name: &str) -> Caller {
    Caller { tenant: Some(tenant), user: name.into(), credential: name.into(), route: "chat".into() }
}

/// What an origin sends, and whether somebody still listens.
pub struct Origin {
    send: mpsc::UnboundedSender<Option<Bytes>>,
    gone: Arc<AtomicBool>,
}

struct OriginBody(mpsc::UnboundedReceiver<Option<Bytes>>, Arc<AtomicBool>);

impl Drop for OriginBody {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

impl http_body::Body for OriginBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|sent| match sent {
            Some(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(None) => Some(Err(std::io::ErrorKind::ConnectionReset.into())),
            None => None,
        })
    }
}

impl Origin {
    pub fn new(kind: &str) -> (Self, Response<Body>) {
        let ((send, receive), gone) = (mpsc::unbounded_channel(), Arc::new(AtomicBool::new(false)));
        let body = Body::new(OriginBody(receive, gone.clone()));
        (Self { send, gone }, Response::builder().header("content-type", kind).body(body).expect("a response"))
    }

    pub fn stream() -> (Self, Response<Body>) {
        Self::new("text/event-stream; charset=utf-8")
    }

    pub fn say(&self, text: impl Into<Bytes>) {
        let _ = self.send.send(Some(text.into()));
    }

    pub fn breaks(&self) {
        let _ = self.send.send(None);
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// A whole answer as an origin sends it, in these parts.
pub fn answer(kind: &str, parts: &[&[u8]]) -> Response<Body> {
    let (origin, response) = Origin::new(kind);
    parts.iter().for_each(|part| origin.say(part.to_vec()));
    response
}

pub async fn next(body: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("in time")?;
    frame.ok()?.into_data().ok().map(|data| String::from_utf8_lossy(&data).into_owned())
}

pub async fn whole(response: Response<Body>) -> String {
    let collected = response.into_body().collect().await.expect("a body");
    String::from_utf8_lossy(&collected.to_bytes()).into_owned()
}
