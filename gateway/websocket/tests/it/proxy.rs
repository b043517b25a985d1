//! A proxy of a few lines around the crate, as the door is one of many: the smallest that can be tested with real
//! clients and real origins. Not for use.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kernel::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use ws_proxy::{Config, Handshake, Life, OriginRule, Reason, Sockets, join};

/// What the proxy is told about whoever opens a socket.
pub type Lives = Arc<dyn Fn() -> Life + Send + Sync>;

/// A running proxy.
#[derive(Clone)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its sockets.
    pub sockets: Sockets,
    /// Why those that ended did.
    pub ends: Arc<Mutex<Vec<Reason>>>,
}

/// Starts a proxy before an origin.
pub async fn start(listen: SocketAddr, origin: SocketAddr, config: Config, lives: Lives) -> std::io::Result<Proxy> {
    let listener = TcpListener::bind(listen).await?;
    let proxy = Proxy { address: listener.local_addr()?, sockets: Sockets::default(), ends: Arc::default() };
    let (running, config) = (proxy.clone(), Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (proxy, config, lives) = (running.clone(), config.clone(), lives.clone());
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let (proxy, config, life) = (proxy.clone(), config.clone(), lives());
                    async move {
                        let answered = pass(request, peer, origin, &proxy, config, life).await;
                        Ok::<_, std::convert::Infallible>(answered.unwrap_or_else(refusal))
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                let _ = connection.with_upgrades().await;
            });
        }
    });
    Ok(proxy)
}

fn refusal(error: Error) -> Response<Body> {
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(error.status()).unwrap_or_default();
    ws_proxy::complete_refusal(&mut response);
    response
}

async fn pass(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    origin: SocketAddr,
    proxy: &Proxy,
    config: Arc<Config>,
    life: Life,
) -> Result<Response<Body>> {
    let handshake = Handshake::read(request.method(), request.version(), request.headers(), config.extensions)?;
    OriginRule::new(&config).check(request.headers())?;
    let place = proxy.sockets.admit(&config, None, peer.ip())?;
    let client = hyper::upgrade::on(&mut request);
    handshake.ask(request.headers_mut());
    let response = send(request, origin).await?;
    let joined = join(&handshake, response, client, config, place, life)?;
    if let Some(socket) = joined.socket {
        let ends = proxy.ends.clone();
        tokio::spawn(async move {
            let reason = socket.run().await;
            ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(reason);
        });
    }
    Ok(joined.response)
}

async fn send(request: Request<Incoming>, origin: SocketAddr) -> Result<Response<Body>> {
    let away = |error: &dyn std::fmt::Display| Error::unavailable("gateway.unreachable", error.to_string());
    let limit = Duration::from_secs(5);
    let stream = tokio::time::timeout(limit, TcpStream::connect(origin)).await.map_err(|error| away(&error))?;
    let stream = stream.map_err(|error| away(&error))?;
    let _ = stream.set_nodelay(true);
    let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| away(&error))?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(|error| away(&error))?;
    Ok(response.map(Body::new))
}
