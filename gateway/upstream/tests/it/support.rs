//! Servers for tests and a client beside them, all on one thread. Not a test itself.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kernel::{Clock, TenantId};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};
use upstream::{Call, Client, Config, Environment, Failure, FailureKind, Metrics, ServerConfig, Upstream};

/// Runs a test on one thread, and ends it when it hangs.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs") };
    LocalSet::new().block_on(&runtime, bounded);
}

/// What a server of ours saw.
#[derive(Clone, Default)]
pub struct Seen {
    pub connections: Rc<Cell<usize>>,
    pub open: Rc<Cell<usize>>,
    pub requests: Rc<RefCell<Vec<http::request::Parts>>>,
}

pub struct Origin {
    pub address: SocketAddr,
    pub seen: Seen,
    task: tokio::task::JoinHandle<()>,
}

impl Origin {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> usize {
        self.seen.requests.borrow().len()
    }

    /// Stops to listen.
    pub async fn stop(&self) {
        self.task.abort();
        tokio::task::yield_now().await;
    }
}

struct Open(Rc<Cell<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Starts an HTTP/1.1 server.
pub async fn origin<F, A>(handler: F) -> Origin
where
    F: Fn(Request<Incoming>) -> A + Clone + 'static,
    A: Future<Output = Response<Body>> + 'static,
{
    let seen = Seen::default();
    let log = seen.clone();
    let serve = move |stream: TcpStream, _| {
        let (handler, log) = (handler.clone(), log.clone());
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (parts, body) = request.into_parts();
                log.requests.borrow_mut().push(parts.clone());
                let answer = handler(Request::from_parts(parts, body));
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        }
    };
    listen(seen, serve).await
}

/// Starts a server that answers a request for each permit it is given.
pub async fn gated() -> (Origin, Rc<Semaphore>) {
    let gate = Rc::new(Semaphore::new(0));
    let closed = gate.clone();
    let origin = origin(move |_| {
        let gate = closed.clone();
        async move {
            gate.acquire().await.expect("it is never closed").forget();
            answer(200, "let through")
        }
    });
    (origin.await, gate)
}

/// Lets everything else run so many times.
pub async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// Starts a server that does with a connection what it wants; it is told which one it is.
pub async fn raw<F, A>(serve: F) -> Origin
where
    F: Fn(TcpStream, usize) -> A + 'static,
    A: Future<Output = ()> + 'static,
{
    listen(Seen::default(), serve).await
}

async fn listen<F, A>(seen: Seen, serve: F) -> Origin
where
    F: Fn(TcpStream, usize) -> A + 'static,
    A: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = seen.clone();
    let task = spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = count.connections.get();
            count.connections.set(number + 1);
            count.open.set(count.open.get() + 1);
            let open = Open(count.open.clone());
            let serving = serve(stream, number);
            spawn_local(async move {
                serving.await;
                drop(open);
            });
        }
    });
    Origin { address, seen, task }
}

/// Reads the head of a request from a raw connection; none at its end.
pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

pub async fn write(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    let socket = stream.into_std().expect("a socket");
    let socket = socket2_linger(socket);
    drop(socket);
}

fn socket2_linger(socket: std::net::TcpStream) -> std::net::TcpStream {
    let stream = TcpStream::from_std(socket).expect("a socket");
    stream.set_zero_linger().expect("a socket");
    stream.into_std().expect("a socket")
}

/// An upstream, a client and what they counted.
pub struct Front {
    pub client: Client,
    pub upstream: Arc<Upstream>,
    registry: Registry,
}

pub fn front(urls: &[String], change: impl FnOnce(&mut Config)) -> Front {
    let mut config = Config { servers: urls.iter().cloned().map(ServerConfig::Url).collect(), ..Config::default() };
    config.retry.backoff_ms = 5;
    change(&mut config);
    let environment = environment();
    let mut registry = Registry::default();
    environment.metrics.register(&mut registry);
    let upstream = Upstream::new("under_test", config, &environment).expect("an upstream");
    Front { client: Client::new(1), upstream, registry }
}

pub fn environment() -> Environment {
    Environment { runtime: tokio::runtime::Handle::current(), clock: Clock::system(), metrics: Metrics::default() }
}

pub fn call() -> Call {
    Call::until(Instant::now() + Duration::from_secs(30))
}

pub fn retrying() -> Call {
    Call { retry: true, ..call() }
}

pub fn of(tenant: TenantId) -> Call {
    Call { tenant: Some(tenant), ..call() }
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(path).header("x-test", "1").body(Body::empty()).expect("a request")
}

pub fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).expect("a request")
}

impl Front {
    pub async fn send(&self, request: Request<Body>, call: &Call) -> Result<Response<Body>, Failure> {
        self.client.send(&self.upstream, request, call).await
    }

    /// Sends and reads all of the answer.
    pub async fn text(&self, request: Request<Body>, call: &Call) -> Result<(StatusCode, String), FailureKind> {
        let response = self.send(request, call).await.map_err(|failure| failure.kind())?;
        Ok((response.status(), text(response).await))
    }

    /// Returns a metric's value: the sum over its labels that hold this text.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("metrics");
        let lines = text.lines().filter(|line| {
            let named =
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with("_total{"));
            named && line.contains(label)
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

pub async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}
