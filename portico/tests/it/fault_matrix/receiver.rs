//! A tenant's own system that takes webhooks: it notes each message by its id. Not for signatures,
//! which the conformance suite checks with the standard's own libraries.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A message as it came, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub body: Bytes,
    pub times: u64,
    /// Whether it came with another body under the same id.
    pub changed: bool,
}

/// The messages by their ids.
pub type Messages = Arc<Mutex<BTreeMap<String, Message>>>;

/// Starts to take messages; where, and what came so far.
pub async fn start() -> (SocketAddr, Messages) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let messages = Messages::default();
    let taken = messages.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let taken = taken.clone();
            let answer = service_fn(move |request| take(request, taken.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (address, messages)
}

async fn take(request: Request<Incoming>, messages: Messages) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    // A sender that dies in the middle has sent nothing.
    let body = request.into_body().collect().await?.to_bytes();
    let mut messages = messages.lock().expect("nobody panics while holding it");
    let message = messages.entry(id).or_insert_with(|| Message { body: body.clone(), times: 0, changed: false });
    message.times += 1;
    message.changed |= message.body != body;
    Ok(Response::new(Full::default()))
}
