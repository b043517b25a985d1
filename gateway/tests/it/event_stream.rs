//! Event streams over real sockets: HTTP/1.1 without hyper after the head (decision 0017), and what
//! stays with hyper. Not for what an event stream says.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing;
use bytes::Bytes;
use futures_util::stream;
use gateway::{Drain, Entry, Gate, Metrics, Server, ServerConfig, TokenCache, TokenCacheConfig};
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kernel::Clock;
use service::{Access, Operation, Service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::{Stand, Tokens};

const FRAME: usize = 64 * 1024;
/// More than the kernel keeps for a client that does not read.
const BIG: usize = 24 * 1024 * 1024;

/// What a test sends down a stream; closed when the server has dropped the body.
type Feed = mpsc::Sender<io::Result<&'static str>>;

struct House {
    server: Server,
    feeds: mpsc::UnboundedReceiver<Feed>,
    /// How much was taken of bodies without end.
    taken: Arc<AtomicUsize>,
}

/// What the handlers share with the test.
#[derive(Clone)]
struct Handlers {
    feeds: mpsc::UnboundedSender<Feed>,
    taken: Arc<AtomicUsize>,
}

fn event_stream(body: Body) -> Response {
    Response::builder()
        .header(CONTENT_TYPE, "text/event-stream; charset=utf-8")
        .header("cache-control", "no-cache, no-transform")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .body(body)
        .expect("a response")
}

async fn answer(handlers: Handlers, request: Request) -> Response {
    match request.uri().path() {
        "/stream" => {
            let (feed, frames) = mpsc::channel(1);
            let _ = handlers.feeds.send(feed);
            event_stream(Body::from_stream(stream::unfold(frames, |mut frames| async move {
                frames.recv().await.map(|frame| (frame, frames))
            })))
        }
        "/endless" => event_stream(Body::from_stream(stream::unfold((), move |()| {
            handlers.taken.fetch_add(FRAME, Ordering::SeqCst);
            async { Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; FRAME])), ())) }
        }))),
        "/big" => Response::new(Body::from(vec![b'b'; BIG])),
        _ => Response::new(Body::from("plain")),
    }
}

fn stand(handlers: &Handlers) -> Stand {
    let (metrics, clock) = (Metrics::default(), Clock::system());
    let never = || async { web::Result::<()>::Ok(()) };
    let service = Service::new("probe", "Streams").routes([
        Operation::get("/stream", "probe_stream", never).access(Access::Public),
        Operation::get("/endless", "probe_endless", never).access(Access::Public),
        Operation::get("/big", "probe_big", never).access(Access::Public),
        Operation::get("/plain", "probe_plain", never).access(Access::Public),
    ]);
    let handlers = handlers.clone();
    let router = Router::new().fallback(routing::any(move |request| answer(handlers.clone(), request)));
    let cache = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
    let entry = Entry::Public(Gate { cache, authenticate: Arc::new(Tokens::default()) });
    Stand::new(service, router, entry, &clock, metrics)
}

impl House {
    fn open() -> Self {
        let (sender, feeds) = mpsc::unbounded_channel();
        let handlers = Handlers { feeds: sender, taken: Arc::default() };
        let (taken, stand) = (handlers.taken.clone(), Arc::new(stand(&handlers)));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = ServerConfig { listen, cores: 1, header_timeout: Duration::from_secs(10), limits: Default::default(), tls: None };
        let server = Server::start(&config, move |core| stand.door(core)).expect("a server");
        Self { server, feeds, taken }
    }

    /// Sends bytes on a new connection, which keeps little that is not read.
    async fn send(&self, bytes: &str) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(64 * 1024).expect("a small buffer");
        let mut stream = socket.connect(self.server.address()).await.expect("a connection");
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        Client { stream, heard: Vec::new() }
    }

    async fn feed(&mut self) -> Feed {
        soon(self.feeds.recv()).await.expect("a stream was opened")
    }
}

/// Waits, but not for ever.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("in time")
}

struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    /// Reads until what it has heard ends so.
    async fn until(&mut self, end: &str) -> String {
        while !self.heard.ends_with(end.as_bytes()) {
            assert_ne!(soon(self.stream.read_buf(&mut self.heard)).await.expect("bytes"), 0, "the end came first");
        }
        String::from_utf8(std::mem::take(&mut self.heard)).expect("text")
    }

    /// Reads all that is left; a reset is an end too.
    async fn rest(mut self) -> String {
        let _ = soon(self.stream.read_to_end(&mut self.heard)).await;
        String::from_utf8(self.heard).expect("text")
    }

    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.expect("sent");
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: probe\r\nx-request-id: 11111111-2222\r\n\r\n")
}

const CLOSE: Drain = Drain { notice: Duration::ZERO, limit: Duration::from_secs(20) };

/// Returns the lines of a head without those that differ from answer to answer.
fn lines(head: &str) -> Vec<&str> {
    let own = ["date: ", "x-request-id: ", "x-correlation-id: "];
    assert!(own.iter().all(|name| head.matches(name).count() == 1), "{head}");
    head.lines().filter(|line| !own.iter().any(|name| line.starts_with(name))).collect()
}

#[tokio::test]
async fn the_head_is_that_of_hyper_and_frames_come_one_by_one() {
    let mut house = House::open();
    let mut client = house.send(&get("/stream")).await;
    let head = client.until("\r\n\r\n").await;
    let feed = house.feed().await;
    for (frame, chunk) in [("data: one\n\n", "B\r\ndata: one\n\n\r\n"), ("", ""), (": two\n", "6\r\n: two\n\r\n")] {
        feed.send(Ok(frame)).await.expect("taken");
        assert_eq!(client.until(chunk).await, chunk);
    }
    drop(feed);
    assert_eq!(client.rest().await, "0\r\n\r\n");

    // A request with a body stays with hyper.
    let with_body = "GET /stream HTTP/1.1\r\nhost: probe\r\ncontent-length: 1\r\nconnection: close\r\n\r\n1";
    let mut client = house.send(with_body).await;
    let hypers = client.until("\r\n\r\n").await;
    assert_eq!(lines(&head), lines(&hypers));
    assert!(head.contains("\r\nconnection: close\r\n") && head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    drop(house.feed().await);
    assert_eq!(client.rest().await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_body_at_once() {
    let mut house = House::open();
    let client = house.send(&get("/stream")).await;
    let feed = house.feed().await;
    drop(client);
    soon(feed.closed()).await;

    let mut client = house.send(&get("/stream")).await;
    client.until("\r\n\r\n").await;
    let feed = house.feed().await;
    client.stream.shutdown().await.expect("half of it is closed");
    soon(feed.closed()).await;
}

#[tokio::test]
async fn a_body_that_fails_is_cut_without_an_end() {
    let mut house = House::open();
    let mut client = house.send(&get("/stream")).await;
    client.until("\r\n\r\n").await;
    let feed = house.feed().await;
    feed.send(Ok("data")).await.expect("taken");
    feed.send(Err(io::Error::other("the log is gone"))).await.expect("taken");
    assert_eq!(client.rest().await, "4\r\ndata\r\n");
}

#[tokio::test]
async fn a_body_is_taken_as_the_client_reads() {
    let house = House::open();
    let mut client = house.send(&get("/endless")).await;
    let (mut read, mut room) = (0, vec![0; FRAME]);
    while read < BIG {
        read += soon(client.stream.read(&mut room)).await.expect("bytes");
        // The kernel keeps some of it: at most 4 MiB at the server's end.
        let taken = house.taken.load(Ordering::SeqCst);
        assert!(taken < read + BIG / 2, "{taken} bytes were taken and {read} read");
    }
}

#[tokio::test]
async fn what_a_client_sends_after_it_gets_no_answer_and_not_too_much_is_heard() {
    let mut house = House::open();
    let mut client = house.send(&(get("/stream") + &get("/plain"))).await;
    client.until("\r\n\r\n").await;
    let feed = house.feed().await;
    client.send(&get("/plain")).await;
    feed.send(Ok("data")).await.expect("taken");
    client.until("4\r\ndata\r\n").await;
    drop(feed);
    assert_eq!(client.rest().await, "0\r\n\r\n");

    let mut client = house.send(&get("/stream")).await;
    client.until("\r\n\r\n").await;
    let feed = house.feed().await;
    client.send(&"x".repeat(17 * 1024)).await;
    soon(feed.closed()).await;
}

#[tokio::test]
async fn answers_before_the_stream_come_whole() {
    let mut house = House::open();
    let mut client = house.send(&(get("/plain") + &get("/stream"))).await;
    client.until("plain").await;
    client.until("\r\n\r\n").await;
    drop(house.feed().await);
    assert_eq!(client.rest().await, "0\r\n\r\n");

    let client = house.send(&(get("/big") + &get("/stream"))).await;
    let reading = tokio::spawn(client.rest());
    drop(house.feed().await);
    let heard = soon(reading).await.expect("read");
    let (head, rest) = heard.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK") && rest.len() > BIG, "{head}, then {} bytes", rest.len());
    let (body, rest) = rest.split_at(BIG);
    assert!(body.bytes().all(|byte| byte == b'b'));
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\n0\r\n\r\n"), "{rest}");
}

#[tokio::test]
async fn a_drain_waits_for_streams_and_cuts_them_at_its_limit() {
    let mut house = House::open();
    let mut client = house.send(&get("/stream")).await;
    client.until("\r\n\r\n").await;
    let feed = house.feed().await;
    let drained = tokio::spawn(house.server.drain(CLOSE));
    feed.send(Ok("last")).await.expect("taken");
    client.until("4\r\nlast\r\n").await;
    assert!(!drained.is_finished(), "it waits");
    drop(feed);
    assert_eq!(client.rest().await, "0\r\n\r\n");
    soon(drained).await.expect("drained");

    let mut house = House::open();
    let mut client = house.send(&get("/stream")).await;
    client.until("\r\n\r\n").await;
    let feed = house.feed().await;
    soon(house.server.drain(Drain { limit: Duration::from_millis(50), ..CLOSE })).await;
    assert_eq!(client.rest().await, "");
    soon(feed.closed()).await;
}

#[tokio::test]
async fn all_else_stays_with_hyper() {
    let mut house = House::open();
    let mut client = house.send(&get("/stream").replace("GET", "HEAD")).await;
    let head = client.until("\r\n\r\n").await;
    assert!(!head.contains("connection:") && head.contains("content-type: text/event-stream"), "{head}");
    soon(house.feed().await.closed()).await;
    client.send(&get("/plain")).await;
    let plain = client.until("plain").await;
    assert!(!plain.contains("connection:") && plain.contains("content-length: 5"), "{plain}");
    client.send(&get("/stream").replace("HTTP/1.1", "HTTP/1.0")).await;
    let head = client.until("\r\n\r\n").await;
    assert!(!head.contains("chunked"), "{head}");
    drop(house.feed().await);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn http_2_streams_stay_with_hyper() {
    let mut house = House::open();
    let stream = TcpStream::connect(house.server.address()).await.expect("a connection");
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.expect("HTTP/2");
    tokio::spawn(connection);
    let request = |path: &str| Request::get(format!("http://probe{path}")).body(Empty::<Bytes>::new());
    let mut answer = soon(sender.send_request(request("/stream").expect("a request"))).await.expect("an answer");
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    assert!(!answer.headers().contains_key("connection"));
    let feed = house.feed().await;
    feed.send(Ok("data: one\n\n")).await.expect("taken");
    let frame = soon(answer.frame()).await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "data: one\n\n");
    let plain = soon(sender.send_request(request("/plain").expect("a request"))).await.expect("an answer");
    assert_eq!(plain.into_body().collect().await.expect("a body").to_bytes(), "plain");
    drop(feed);
    assert!(answer.into_body().collect().await.expect("an end").to_bytes().is_empty());
}
