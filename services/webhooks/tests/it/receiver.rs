//! A receiver on this machine that keeps what it gets and answers as it is told. Not a test by itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Says whether one of the signatures is by this secret.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("the prefix")).expect("Base64");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("any length");
        mac.update(format!("{}.{}.", self.header("webhook-id"), self.header("webhook-timestamp")).as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

type Reply = Arc<dyn Fn(&Got) -> Response + Send + Sync>;

/// Listens on a port of its own for as long as it lives.
pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    reply: Arc<Mutex<Reply>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let fine: Reply = Arc::new(|_: &Got| answer(200));
        let reply = Arc::new(Mutex::new(fine));
        let (kept, told) = (got.clone(), reply.clone());
        let router = Router::new().fallback(move |request: Request| {
            let (kept, told) = (kept.clone(), told.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.expect("a whole body");
                let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                let got = Got { path, headers: parts.headers, body };
                kept.lock().expect("not poisoned").push(got.clone());
                let reply = told.lock().expect("not poisoned").clone();
                reply(&got)
            }
        });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, got, reply, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn answers(&self, reply: impl Fn(&Got) -> Response + Send + Sync + 'static) {
        *self.reply.lock().expect("not poisoned") = Arc::new(reply);
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().expect("not poisoned").clone()
    }

    pub fn count(&self) -> usize {
        self.got.lock().expect("not poisoned").len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub fn answer(status: u16) -> Response {
    Response::builder().status(status).body(Body::from(format!("this is {status}"))).expect("a response")
}
