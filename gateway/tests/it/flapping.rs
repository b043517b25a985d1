//! A server that is killed and started again at the same address, and writes down what it did to whom: which
//! requests it had when it was killed, and when it was away. For `zero_drop`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What the server writes down.
#[derive(Default)]
struct Log {
    /// Requests that were begun and not answered.
    open: HashSet<String>,
    /// Requests that it had when it was killed.
    broken: HashSet<String>,
    /// When it was away, from and to.
    away: Vec<(Instant, Option<Instant>)>,
    answered: usize,
    /// All requests that ever reached it, and those that did again.
    seen: HashSet<String>,
    twice: Vec<String>,
}

/// The server.
pub struct Flapping {
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    running: Option<JoinHandle<()>>,
}

async fn answer(log: Arc<Mutex<Log>>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let id = request.headers().get("x-probe").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    {
        let mut log = log.lock().expect("not poisoned");
        log.open.insert(id.clone());
        if !log.seen.insert(id.clone()) {
            log.twice.push(id.clone());
        }
    }
    let body = request.into_body().collect().await?.to_bytes();
    // Long enough that some are open whenever it is killed.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut log = log.lock().expect("not poisoned");
    log.open.remove(&id);
    log.answered += 1;
    Ok(Response::new(Body::from(format!("{id} {}", body.len()))))
}

impl Flapping {
    pub fn start() -> Self {
        let mut server = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), log: Arc::default(), running: None };
        server.resume();
        server
    }

    /// Listens at its address again.
    pub fn resume(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).and_then(|()| socket.set_nonblocking(true)).expect("options");
        socket.bind(&self.address.into()).and_then(|()| socket.listen(1_024)).expect("its address");
        let listener = TcpListener::from_std(socket.into()).expect("a listener");
        self.address = listener.local_addr().expect("an address");
        if let Some((_, to)) = self.log.lock().expect("not poisoned").away.last_mut() {
            to.get_or_insert_with(Instant::now);
        }
        let log = self.log.clone();
        self.running = Some(tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let log = log.clone();
                let answer = service_fn(move |request| answer(log.clone(), request));
                let http = hyper::server::conn::http1::Builder::new();
                connections.spawn(async move { drop(http.serve_connection(TokioIo::new(stream), answer).await) });
                while connections.try_join_next().is_some() {}
            }
        }));
    }

    /// Breaks all connections, and refuses new ones.
    pub async fn kill(&mut self) {
        self.log.lock().expect("not poisoned").away.push((Instant::now(), None));
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        let mut log = self.log.lock().expect("not poisoned");
        let open = std::mem::take(&mut log.open);
        log.broken.extend(open);
    }

    /// Says whether it broke this request, or was away at some time between.
    pub fn is_to_blame(&self, id: &str, from: Instant, to: Instant) -> bool {
        let log = self.log.lock().expect("not poisoned");
        let away =
            |(since, until): &(Instant, Option<Instant>)| *since <= to && until.is_none_or(|until| from <= until);
        log.broken.contains(id) || log.away.iter().any(away)
    }

    /// Says whether this request ever reached it.
    pub fn has_seen(&self, id: &str) -> bool {
        self.log.lock().expect("not poisoned").seen.contains(id)
    }

    /// Returns the requests that reached it more than once.
    pub fn twice(&self) -> Vec<String> {
        self.log.lock().expect("not poisoned").twice.clone()
    }

    pub fn answered(&self) -> usize {
        self.log.lock().expect("not poisoned").answered
    }
}
