//! The door behind a real socket, for what a request in memory cannot do: becoming a WebSocket. Not
//! for processes: see the binary's tests.

use std::net::SocketAddr;

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use web::PeerAddress;

use crate::app::TestApp;
use crate::door::AtDoor;

impl TestApp {
    /// Listens on a free port of this machine, as long as the test's runtime lives.
    pub async fn listen(&self) -> SocketAddr {
        listen(self.door().clone()).await
    }

    /// Listens before the door behind which the services are elsewhere.
    pub async fn listen_away(&self) -> SocketAddr {
        listen(self.away().clone()).await
    }
}

async fn listen(door: AtDoor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let door = door.clone();
            let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let door = door.clone();
                async move {
                    let mut request = request.map(Body::new);
                    request.extensions_mut().insert(PeerAddress(peer));
                    Ok::<_, std::convert::Infallible>(door.handle(request).await)
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), answer).with_upgrades());
        }
    });
    address
}
