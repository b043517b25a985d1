//! One service behind two front doors: in the same process, and in another one that the door reaches over the
//! wire. Its handlers wait, fail, break off and tell how they ended. For the other files of these tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gateway::{DoorConfig, Drain, Entry, Gate, Metrics, Server, ServerConfig, TokenCache, TokenCacheConfig};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use kernel::{Clock, Error};
use service::{Access, Operation, Service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use web::{ContextKey, Problem, RequestIds};

use crate::{Stand, Tokens};

/// How long something may take that has to come.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What the handlers tell the test.
#[derive(Clone)]
pub struct Told {
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Lets handlers go on that wait for it.
    pub go: Arc<Semaphore>,
}

/// Tells that a handler was dropped before its end.
struct Dropped(Told, Option<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(what) = self.1 {
            self.0.note(what);
        }
    }
}

impl Told {
    fn note(&self, what: &str) {
        *self.counts.lock().expect("not poisoned").entry(what.to_owned()).or_default() += 1;
    }

    /// Returns how often this happened.
    pub fn of(&self, what: &str) -> usize {
        self.counts.lock().expect("not poisoned").get(what).copied().unwrap_or_default()
    }

    /// Waits until this has happened so often.
    pub async fn until(&self, what: &str, times: usize) {
        fixtures::eventually(what, async || self.of(what) >= times).await;
    }
}

/// Breaks off in the middle.
fn broken(length: Option<u64>) -> Response {
    let parts = stream::iter([Ok("half"), Err(std::io::Error::other("it broke"))]);
    // So that the head and the half leave before it breaks.
    let parts = parts.then(|part| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        part
    });
    let mut response = Response::new(Body::from_stream(parts));
    length.map(|length| response.headers_mut().insert("content-length", length.into()));
    response
}

async fn answer(told: Told, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    told.note(&format!("asked {path}"));
    let mut dropped = Dropped(told.clone(), Some("dropped"));
    let ids = parts.extensions.get::<RequestIds>().expect("the door says whose request it is");
    let problem = |error: Error| web::render(Problem::from(error).into_response(), ids);
    let response = match path.as_str() {
        "/waits" => std::future::pending().await,
        // Changes something, and takes its time.
        "/works" => {
            told.go.acquire().await.expect("open").forget();
            told.note("worked");
            "worked".into_response()
        }
        "/reads" => match body.collect().await {
            Ok(body) => body.to_bytes().len().to_string().into_response(),
            Err(_) => {
                told.note("broken off");
                problem(Error::invalid("probe.broken_off", "half a body"))
            }
        },
        "/echo" => Response::new(Body::new(body)),
        "/ignores" => std::future::pending().await,
        "/declines" => problem(Error::conflict("probe.declined", "unread")),
        "/stream" => {
            let end = Dropped(told.clone(), Some("stream dropped"));
            let first = stream::once(async { Ok::<_, Infallible>(Bytes::from("data: 1\n\n")) });
            let rest = stream::pending().map(move |never: Infallible| {
                let _ = &end;
                match never {}
            });
            ([("content-type", "text/event-stream")], Body::from_stream(first.chain(rest))).into_response()
        }
        "/fails" => problem(Error::internal("it failed")),
        "/busy" => {
            problem(Error::unavailable("probe.busy", "later").retry_after(1))
        }
        "/breaks" => broken(None),
        "/breaks-sized" => broken(Some(1_000)),
        "/panics" => panic!("a handler of a test panics"),
        "/empty" => StatusCode::NO_CONTENT.into_response(),
        "/unchanged" => (StatusCode::NOT_MODIFIED, [("etag", "\"v1\"")]).into_response(),
        "/moved" => (StatusCode::SEE_OTHER, [("location", "/hello?a=b#c")]).into_response(),
        "/hints" => ([("link", "</a>"), ("x-portico-context", "of a handler"), ("keep-alive", "3")], "x").into_response(),
        "/large" => Response::new(Body::from(vec![b'x'; 3 << 20])),
        _ => ([("etag", "\"v1\""), ("x-told", "1")], "hello").into_response(),
    };
    dropped.1 = None;
    response
}

const PATHS: [&str; 18] = [
    "/waits", "/works", "/reads", "/echo", "/ignores", "/declines", "/stream", "/fails", "/busy", "/breaks",
    "/breaks-sized", "/panics", "/empty", "/unchanged", "/moved", "/hints", "/large", "/hello",
];

/// A service in both places.
pub struct Mounts {
    /// Where the door is that has the service in its own process, and what its handlers tell.
    pub here: (SocketAddr, Told),
    /// Where the door is that has it elsewhere.
    pub there: (SocketAddr, Told),
    servers: Vec<Server>,
}

fn stand(told: &Told, entry: Option<Entry>, config: DoorConfig) -> Stand {
    let (metrics, clock) = (Metrics::default(), Clock::system());
    let never = || async { web::Result::<()>::Ok(()) };
    let operations = PATHS.into_iter().flat_map(|path| {
        let live = |operation: Operation| if path == "/stream" { operation.live() } else { operation };
        [("get", Method::GET), ("post", Method::POST)].map(|(name, method)| {
            let id = format!("probe_{name}_{}", path[1..].replace('-', "_"));
            live(Operation::new(method, path, id, never).access(Access::Public))
        })
    });
    let service = Service::new("probe", "Waits, fails and breaks off").routes(operations);
    let told = told.clone();
    let router = Router::new().fallback(routing::any(move |request| answer(told.clone(), request)));
    let cache = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
    let public = Entry::Public(Gate { cache, authenticate: Arc::new(Tokens::default()) });
    let mut stand = Stand::new(service, router, entry.unwrap_or(public), &clock, metrics);
    stand.config = config;
    stand
}

impl Mounts {
    /// Opens both; requests may take so long.
    pub fn open(timeout: Duration) -> Self {
        Self::with(DoorConfig { timeout, ..DoorConfig::default() })
    }

    /// Opens both with these limits.
    pub fn with(config: DoorConfig) -> Self {
        let told = || Told { counts: Arc::default(), go: Arc::new(Semaphore::new(0)) };
        let (here, there) = (told(), told());
        let key = ContextKey::new(&[3; 32]).expect("long enough");
        let start = |stand: Stand| {
            let stand = Arc::new(stand);
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let config = ServerConfig { listen, cores: 1, header_timeout: LIMIT, limits: Default::default(), tls: None };
            Server::start(&config, move |core| stand.door(core)).expect("a server")
        };
        // The other process has a time of its own, which is not what ends the request.
        let behind = start(stand(&there, Some(Entry::Internal(key.clone())), DoorConfig { timeout: LIMIT, ..DoorConfig::default() }));
        let mut front = stand(&told(), None, config);
        front.elsewhere = Some((format!("http://{}", behind.address()), key));
        let (whole, front) = (start(stand(&here, None, config)), start(front));
        Self { here: (whole.address(), here), there: (front.address(), there), servers: vec![whole, front, behind] }
    }

    /// Returns both.
    pub fn both(&self) -> [&(SocketAddr, Told); 2] {
        [&self.here, &self.there]
    }

    pub async fn stop(self) {
        for server in self.servers {
            server.drain(Drain { notice: Duration::ZERO, limit: Duration::from_millis(50) }).await;
        }
    }
}

/// A connection over which bytes go.
pub struct Wire(pub TcpStream);

impl Wire {
    pub async fn open(address: SocketAddr) -> Self {
        Self::from([127, 0, 0, 1], address).await
    }

    /// Opens a connection from this address of this machine.
    pub async fn from(client: [u8; 4], address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((client, 0).into()).expect("an address of this machine");
        Self(socket.connect(address).await.expect("a connection"))
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    /// Reads until this has come.
    pub async fn until(&mut self, end: &str) -> String {
        let (mut heard, mut room) = (Vec::new(), [0; 4096]);
        loop {
            let read = tokio::time::timeout(LIMIT, self.0.read(&mut room)).await.expect("some in time");
            let read = read.unwrap_or_default();
            heard.extend_from_slice(&room[..read]);
            let text = String::from_utf8_lossy(&heard);
            if text.contains(end) {
                return text.into_owned();
            }
            assert!(read > 0, "it ended before {end:?}: {text}");
        }
    }

    /// Reads to the end, and says what came, without the date.
    pub async fn rest(mut self) -> String {
        let (mut heard, mut room) = (Vec::new(), [0; 65_536]);
        loop {
            match tokio::time::timeout(LIMIT, self.0.read(&mut room)).await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(read)) => heard.extend_from_slice(&room[..read]),
                Err(_) => panic!("it stays open after {}", String::from_utf8_lossy(&heard)),
            }
        }
        undated(&String::from_utf8_lossy(&heard))
    }
}

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// Leaves out what differs from one time to the next.
pub fn undated(text: &str) -> String {
    if let Some(rest) = text.strip_prefix(CONTINUE) {
        return format!("{CONTINUE}{}", undated(rest));
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    // The order of headers of different names says nothing (RFC 9110, section 5.3).
    lines[1..].sort_by_key(|line| line.split(':').next());
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

/// Sends bytes and reads all that comes back.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut wire = Wire::open(address).await;
    // Who does not read all of it may close first.
    let _ = wire.0.write_all(bytes).await;
    wire.rest().await
}

/// Writes a request whose connection ends with it.
pub fn request(method: &str, target: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut lines = vec![format!("{method} {target} HTTP/1.1"), "host: gateway.test".to_owned()];
    lines.extend(["x-request-id: one-request", "x-correlation-id: one-chain", "connection: close"].map(str::to_owned));
    lines.extend(headers.iter().map(|line| (*line).to_owned()));
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}
