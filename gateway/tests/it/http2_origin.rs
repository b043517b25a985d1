//! A server of HTTP/2 that is restarted the graceful way, again and again, and counts what it acted on. For
//! `zero_drop`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The server.
pub struct Graceful {
    pub address: SocketAddr,
    /// How often each request was acted on.
    acted: Arc<Mutex<HashMap<String, usize>>>,
    /// Ends the connections there are.
    restart: watch::Sender<()>,
}

async fn answer(
    acted: Arc<Mutex<HashMap<String, usize>>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let id = request.headers().get("x-probe").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    *acted.lock().expect("not poisoned").entry(id.clone()).or_default() += 1;
    // Long enough that some are open at every restart.
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(Response::new(Body::from(format!("{id} {}", body.len()))))
}

impl Graceful {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (server, acted) = (watch::Sender::new(()), Arc::<Mutex<HashMap<_, _>>>::default());
        let (told, log) = (server.subscribe(), acted.clone());
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (log, mut told) = (log.clone(), told.clone());
                told.mark_unchanged();
                connections.spawn(async move {
                    let answer = service_fn(move |request| answer(log.clone(), request));
                    let http = http2::Builder::new(TokioExecutor::new());
                    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), answer));
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        _ = told.changed() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, acted, restart: server }
    }

    /// Ends each connection after the requests that it has.
    pub fn restart(&self) {
        self.restart.send_replace(());
    }

    /// Returns how many requests it acted on, and those on which it did twice.
    pub fn acted(&self) -> (usize, Vec<String>) {
        let acted = self.acted.lock().expect("not poisoned");
        let twice = acted.iter().filter(|(_, times)| **times > 1).map(|(id, _)| id.clone()).collect();
        (acted.len(), twice)
    }
}
