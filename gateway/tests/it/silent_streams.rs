//! Streams that say nothing for longer than an upstream's bodies may: those of live routes stay, others are given up.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};
use futures_util::stream;
use tokio::sync::Notify;

use crate::front::{Front, Setting};

const IDLE: Duration = Duration::from_millis(200);

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
timeouts = { body_idle_ms = 200 }
[[routes]]
path = "/live"
upstream = "origin"
access = "public"
live = true
[[routes]]
path = "/plain"
upstream = "origin"
access = "public"
"#;

/// Sends an event at once, and one more when it is told to.
async fn events(State(go_on): State<Arc<Notify>>) -> Response {
    let parts = stream::unfold((0, go_on), |(number, go_on)| async move {
        match number {
            0 => Some((Ok::<_, Infallible>(Bytes::from_static(b"data: first\n\n")), (1, go_on))),
            1 => {
                go_on.notified().await;
                Some((Ok(Bytes::from_static(b"data: second\n\n")), (2, go_on)))
            }
            _ => None,
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(parts)).into_response()
}

async fn front() -> (Front, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at: SocketAddr = listener.local_addr().expect("an address");
    let router = Router::new().fallback(routing::any(events)).with_state(go_on.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Front::before(&DECLARED.replace("ORIGIN", &at.to_string()), Setting::default()), go_on)
}

#[tokio::test]
async fn a_live_route_is_not_cut_by_the_silence_that_ends_others() {
    let (front, go_on) = front().await;
    // How long a body may be silent is up when the route beside it, asked later, has been cut off.
    let live = front.get("/live", &[]);
    let beside = async {
        let began = Instant::now();
        let plain = front.get("/plain", &[]).await;
        assert_eq!((plain.status, plain.body.as_slice()), (200, &b""[..]), "its end never came: it is an error");
        assert!(began.elapsed() >= IDLE);
        assert_eq!(front.get("/plain", &[]).await.body, b"");
        go_on.notify_waiters();
    };
    let (live, ()) = futures_util::future::join(live, beside).await;
    assert_eq!(String::from_utf8_lossy(&live.body), "data: first\n\ndata: second\n\n");
    front.stop().await;
}
