//! The sockets: one current-thread runtime and one SO_REUSEPORT listener per core (decision 0001),
//! HTTP/1.1 and HTTP/2, and a drain that loses no request. Not for what happens to a request.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use kernel::{Error, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use web::PeerAddress;

use crate::detach::{self, Desk, End};
use crate::door::Door;
use crate::event_stream::EventStream;

/// How long a stopping server waits for the next request of a connection before it closes it.
const IDLE_GRACE: Duration = Duration::from_millis(500);
/// How long a client may leave unacknowledged what was sent to it, or its window shut: a stream's heartbeats
/// would otherwise go to a peer that is gone for as long as the kernel likes to try.
const PEER_GONE: Duration = Duration::from_secs(30);

/// How the server listens.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many cores proxy; each has a runtime of its own.
    pub cores: usize,
    /// How long a client may take to send the head of a request; over what the limits say.
    pub header_timeout: Duration,
    /// How strictly connections are read, and for how long they are waited for.
    pub limits: strict_http::Config,
}

/// How the server stops.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long it goes on accepting after it has said that it is not ready.
    pub notice: Duration,
    /// How long open requests may take to end.
    pub limit: Duration,
}

/// What belongs to one core as long as it runs, whichever door stands there.
pub struct Core {
    client: upstream::Client,
}

impl Core {
    /// Returns one of so many cores.
    pub fn new(cores: usize) -> Self {
        Self { client: upstream::Client::new(cores) }
    }

    /// Returns the core's connections to upstreams.
    pub(crate) fn client(&self) -> &upstream::Client {
        &self.client
    }
}

/// A listening server.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<Stage>,
    renew: Arc<watch::Sender<Option<mpsc::Sender<Result<()>>>>>,
    threads: Vec<JoinHandle<()>>,
}

/// Has the doors of a server made anew while it runs.
#[derive(Clone)]
pub struct Renewal {
    ask: Arc<watch::Sender<Option<mpsc::Sender<Result<()>>>>>,
    cores: usize,
}

impl Renewal {
    /// Has each core make its door anew; requests that are under way end at the old one. Returns when all
    /// have, or why one has not: that core goes on with its old door.
    pub async fn renew(&self) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(10);
        let (told, mut answers) = mpsc::channel(self.cores.max(1));
        self.ask.send_replace(Some(told));
        for _ in 0..self.cores {
            let stopped = || Error::unavailable("server.stopping", "the server is stopping");
            let answer = tokio::time::timeout(LIMIT, answers.recv()).await.map_err(|_| stopped())?;
            answer.ok_or_else(stopped)??;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    Draining(Duration),
}

fn socket(address: SocketAddr, shared: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind(address: SocketAddr) -> Result<StdListener> {
    let listen = socket(address, true).and_then(|socket| socket.listen(1024).map(|()| socket.into()));
    listen.map_err(|error| cannot_listen(address, error))
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Error {
    Error::unavailable("server.cannot_listen", format!("cannot listen on {address}: is another program there?"))
        .source_error(error)
}

impl Server {
    /// Refuses an address that another program listens on; with SO_REUSEPORT a second server there
    /// would go unnoticed. Does not listen: a client that this socket let in would be reset.
    pub fn check_free(address: SocketAddr) -> Result<()> {
        if address.port() != 0 {
            socket(address, false).map_err(|error| cannot_listen(address, error))?;
        }
        Ok(())
    }

    /// Starts listening. `door` is called once per core, on that core's thread.
    pub fn start(
        config: &ServerConfig,
        door: impl Fn(&Rc<Core>) -> Result<Door> + Send + Clone + 'static,
    ) -> Result<Self> {
        Self::check_free(config.listen)?;
        Self::start_beside(config, door)
    }

    /// Starts listening on an address where an older server listens still: the kernel gives new connections to
    /// both until that one drains, so that a restart turns nobody away.
    pub fn start_beside(
        config: &ServerConfig,
        door: impl Fn(&Rc<Core>) -> Result<Door> + Send + Clone + 'static,
    ) -> Result<Self> {
        let header_timeout_ms = config.header_timeout.as_millis() as u64;
        let limits = Arc::new(strict_http::Config { header_timeout_ms, ..config.limits.clone() });
        limits.check()?;
        let first = bind(config.listen)?;
        let address = first.local_addr().map_err(|error| Error::internal("no local address").source_error(error))?;
        let mut listeners = vec![first];
        for _ in 1..config.cores.max(1) {
            listeners.push(bind(address)?);
        }
        let (stop, stage) = watch::channel(Stage::Serving);
        let (renew, renewed) = watch::channel(None);
        let mut threads = Vec::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let (door, stage, limits, cores) = (door.clone(), stage.clone(), limits.clone(), config.cores);
            let renewed = renewed.clone();
            let name = format!("gateway-{number}");
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                if let Err(error) = run_core(listener, door, stage, renewed, limits, cores) {
                    tracing::error!(error = %error, "a gateway core stopped");
                }
            });
            threads.push(thread.map_err(|error| Error::internal("no thread for a gateway core").source_error(error))?);
        }
        Ok(Self { address, stop, renew: Arc::new(renew), threads })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what has the doors of this server made anew.
    pub fn renewal(&self) -> Renewal {
        Renewal { ask: self.renew.clone(), cores: self.threads.len() }
    }

    /// Stops accepting, lets open requests end, and returns when the cores have stopped.
    pub async fn drain(self, drain: Drain) {
        tokio::time::sleep(drain.notice).await;
        self.stop.send_replace(Stage::Draining(drain.limit));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }
}

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

fn run_core(
    listener: StdListener,
    door: impl Fn(&Rc<Core>) -> Result<Door> + 'static,
    stage: watch::Receiver<Stage>,
    renewed: watch::Receiver<Option<mpsc::Sender<Result<()>>>>,
    limits: Arc<strict_http::Config>,
    cores: usize,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("no runtime for a gateway core").source_error(error))?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = TcpListener::from_std(listener)
            .map_err(|error| Error::internal("the listener failed").source_error(error))?;
        let core = Rc::new(Core::new(cores));
        let current = Rc::new(RefCell::new(Rc::new(door(&core)?)));
        let renewing = tokio::task::spawn_local(keep_renewed(current.clone(), move || door(&core), renewed));
        serve(listener, current, stage, limits).await;
        renewing.abort();
        Ok(())
    })
}

/// Puts a new door in the place of the old one whenever it is asked to.
async fn keep_renewed(
    current: Rc<RefCell<Rc<Door>>>,
    door: impl Fn() -> Result<Door>,
    mut renewed: watch::Receiver<Option<mpsc::Sender<Result<()>>>>,
) {
    while renewed.changed().await.is_ok() {
        let Some(told) = renewed.borrow_and_update().clone() else { continue };
        let made = door().map(|door| {
            current.replace(Rc::new(door));
        });
        let _ = told.send(made).await;
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

/// Says whether a client begins with HTTP/2, and leaves to be read what it sent: hyper makes a buffer of twice
/// the size where the beginning was read before, and keeps it.
async fn begins_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let (mut start, mut pause) = ([0; 3], Duration::from_millis(1));
    loop {
        let read = stream.peek(&mut start).await?;
        match &start[..read] {
            b"PRI" => return Ok(true),
            // The beginning of `PRI`, `POST` and others: the rest is on its way.
            // Who keeps it back is looked at ever more rarely.
            b"P" | b"PR" => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(200));
            }
            _ => return Ok(false),
        }
    }
}

async fn serve(
    listener: TcpListener,
    current: Rc<RefCell<Rc<Door>>>,
    mut stage: watch::Receiver<Stage>,
    limits: Arc<strict_http::Config>,
) {
    let http = Http::new(&limits);
    // Each connection holds a receiver for as long as it is open.
    let ending = watch::Sender::new(false);
    let closing = Rc::new(Cell::new(false));
    let attend = |stream: TcpStream, peer: SocketAddr| {
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(PEER_GONE));
        let (current, closing, desk) = (current.clone(), closing.clone(), Desk::new(&limits));
        let at_desk = desk.clone();
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let (door, closing, desk) = (current.borrow().clone(), closing.clone(), at_desk.clone());
            // In a box, which goes with the answer's head: hyper keeps room for the future itself as long as
            // the connection lasts, and a stream's lasts long.
            Box::pin(async move {
                let (version, may_leave) = (request.version(), detach::may_leave(&request));
                let (mut request, taken) = desk.take_in(request);
                request.extensions_mut().insert(PeerAddress(peer));
                let mut response = door.handle(request).await;
                if may_leave && detach::leaves(&response) {
                    match desk.leave(response).await {}
                }
                response = desk.give_out(&taken, response);
                if closing.get() && version < Version::HTTP_2 {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(response)
            })
        });
        let (http, mut ended, header_timeout) = (http.clone(), ending.subscribe(), limits.header_timeout());
        tokio::task::spawn_local(async move {
            let begun = tokio::select! {
                begun = tokio::time::timeout(header_timeout, begins_http2(&stream)) => begun,
                _ = ended.wait_for(|ended| *ended) => return,
            };
            let Ok(Ok(http2)) = begun else { return };
            let end = if http2 {
                // In a box: what it takes would be kept free in the tasks of all the others.
                let mut connection = Box::pin(http.two.serve_connection(desk.lend_http2(stream), answer));
                tokio::select! {
                    end = desk.drive(connection.as_mut()) => end,
                    _ = async { tokio::select! { _ = ended.wait_for(|ended| *ended) => {}, () = desk.idle() => {} } } => {
                        connection.as_mut().graceful_shutdown();
                        desk.drive(connection.as_mut()).await
                    }
                }
            } else {
                let connection = http.one.serve_connection(desk.lend(stream), answer);
                let mut connection = std::pin::pin!(connection.with_upgrades());
                tokio::select! {
                    end = desk.drive(connection.as_mut()) => end,
                    () = async { let _ = ended.wait_for(|ended| *ended).await; desk.between().await } => {
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
                    if let Some(stream) = desk.take_back() {
                        tokio::task::spawn_local(EventStream::new(stream, answer, ended));
                    }
                }
            }
            desk.close().await;
        });
    };
    let limit = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => attend(stream, peer),
                Err(error) => {
                    // Out of file descriptors, most likely: let some connections end first.
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = stage.changed() => {
                if let Stage::Draining(limit) = *stage.borrow_and_update() {
                    break limit;
                }
            }
        }
    };
    let began = Instant::now();
    // Whom the kernel has let in already would be reset with the listener.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept() {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                attend(stream, peer);
            }
        }
    }
    // An idle connection that is closed while the next request is on its way resets that request.
    // So busy connections learn from their next answer that it was the last, and only those that
    // stay idle are closed.
    closing.set(true);
    while ending.receiver_count() > 0 && began.elapsed() < IDLE_GRACE.min(limit / 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ending.send_replace(true);
    if tokio::time::timeout(limit.saturating_sub(began.elapsed()), ending.closed()).await.is_err() {
        tracing::warn!("some requests were still open at the end of the drain");
    }
}
