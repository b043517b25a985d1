//! A server of HTTP/2 that is restarted the graceful way, again and again, and counts what it acted on. For
//! `zero_drop`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// The server.
pub struct Graceful {
    pub address: SocketAddr,
    log: Log,
    /// Ends the connections there are.
    restart: watch::Sender<()>,
}

#[derive(Clone)]
struct Log {
    /// How often each request was acted on.
    acted: Arc<Mutex<HashMap<String, usize>>>,
    /// One request is kept open at a time, until the next restart.
    keeps: Arc<Semaphore>,
}

async fn answer(
    log: Log,
    mut restart: watch::Receiver<()>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    restart.mark_unchanged();
    let id = request.headers().get("x-probe").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    *log.acted.lock().expect("not poisoned").entry(id.clone()).or_default() += 1;
    if let Ok(_kept) = log.keeps.try_acquire() {
        drop(restart.changed().await);
    }
    Ok(Response::new(Body::from(format!("{id} {}", body.len()))))
}

impl Graceful {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (restart, log) =
            (watch::Sender::new(()), Log { acted: Arc::default(), keeps: Arc::new(Semaphore::new(1)) });
        let (restarts, logs) = (restart.subscribe(), log.clone());
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (log, mut restarted) = (logs.clone(), restarts.clone());
                restarted.mark_unchanged();
                let told = restarted.clone();
                connections.spawn(async move {
                    let answer = service_fn(move |request| answer(log.clone(), told.clone(), request));
                    let http = http2::Builder::new(TokioExecutor::new());
                    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), answer));
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        _ = restarted.changed() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, log, restart }
    }

    /// Ends each connection after the requests that it has.
    pub fn restart(&self) {
        self.restart.send_replace(());
    }

    /// Restarts for the last time: no request is kept open any more.
    pub fn restart_last(&self) {
        self.log.keeps.close();
        self.restart();
    }

    /// Returns how many requests it acted on, and those on which it did twice.
    pub fn acted(&self) -> (usize, Vec<String>) {
        let acted = self.log.acted.lock().expect("not poisoned");
        let twice = acted.iter().filter(|(_, times)| **times > 1).map(|(id, _)| id.clone()).collect();
        (acted.len(), twice)
    }
}
