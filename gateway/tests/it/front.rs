//! A server whose door has a gateway.toml, before an origin that says what reached it; and a client. For
//! the other files of these tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing};
use gateway::{
    Core, Declared, DoorConfig, Drain, Entry, Gate, Lasting, Metrics, Server, ServerConfig, Source, Tls, TokenCache, TokenCacheConfig,
};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kernel::Clock;
use serde_json::{Value, json};
use service::{AllOn, Features, Service};

use crate::{Stand, Tokens};

/// An origin that tells what it was asked, and answers as the path says.
#[derive(Clone, Default)]
pub struct Origin {
    pub asked: Arc<Mutex<Vec<String>>>,
    pub failing: Arc<AtomicUsize>,
}

/// A front door with its origin.
pub struct Front {
    pub address: SocketAddr,
    pub origin: Origin,
    pub tokens: Arc<Tokens>,
    pub lasting: Lasting,
    pub declared: Arc<Mutex<String>>,
    pub metrics: Arc<Metrics>,
    pub server: Server,
    client: Client<HttpConnector, Body>,
}

/// What a front door of a test is given beside its file.
pub struct Setting {
    pub clock: Clock,
    pub features: Arc<dyn Features>,
    pub redis_url: Option<String>,
    pub listen: SocketAddr,
    /// Whether an older server listens there still.
    pub beside: bool,
    pub door: DoorConfig,
    pub tls: Option<Tls>,
    pub header_timeout: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let (clock, listen) = (Clock::system(), SocketAddr::from(([127, 0, 0, 1], 0)));
        Self {
            clock,
            features: Arc::new(AllOn),
            redis_url: None,
            listen,
            beside: false,
            door: DoorConfig::default(),
            tls: None,
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

async fn answer(State(origin): State<Origin>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.to_string();
    origin.asked.lock().expect("not poisoned").push(format!("{} {target}", parts.method));
    let headers: BTreeMap<String, String> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if origin.failing.load(Ordering::SeqCst) > 0 {
        return (http::StatusCode::INTERNAL_SERVER_ERROR, "the origin fails").into_response();
    }
    let told = json!({
        "method": parts.method.as_str(),
        "target": target,
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    let mut response = Json(told).into_response();
    response.headers_mut().insert("server", "origin/1".parse().expect("a value"));
    response.headers_mut().insert("set-cookie", "of=origin".parse().expect("a value"));
    response
}

impl Origin {
    pub async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(routing::any(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Front {
    /// Opens a front door; ORIGIN in the text stands for the origin's address.
    pub async fn open(declared: &str) -> Self {
        let origin = Origin::default();
        let at = origin.start().await;
        let declared = declared.replace("ORIGIN", &at.to_string());
        Self { origin, ..Self::before(&declared, Setting::default()) }
    }

    /// Opens a front door before whatever the text says.
    pub fn before(declared: &str, setting: Setting) -> Self {
        let Setting { clock, features, redis_url, listen, beside, door, tls, header_timeout } = setting;
        let (metrics, none) = (Metrics::default(), Service::new("probe", "Nothing"));
        let cache = Arc::new(TokenCache::new(TokenCacheConfig::default(), clock.clone(), &metrics));
        let tokens = Arc::new(Tokens::until(clock.now().plus(Duration::from_secs(3_600))));
        let entry = Entry::Public(Gate { cache: cache.clone(), authenticate: tokens.clone() });
        let read = Declared::parse(&Source::new("gateway.toml", declared)).expect("a sound file");
        let state = (&read, redis_url.as_deref());
        let mut stand = Stand::of(none, Router::new(), entry, &clock, metrics, state);
        let authenticate = stand.lasting.with_issuers(tokens.clone(), &cache);
        stand.entry = Entry::Public(Gate { cache, authenticate });
        (stand.features, stand.config) = (features, door);
        let declared = Arc::new(Mutex::new(declared.to_owned()));
        let (lasting, metrics, text) = (stand.lasting.clone(), stand.metrics.clone(), declared.clone());
        let stand = Arc::new(Mutex::new(stand));
        let config = ServerConfig { listen, cores: 1, header_timeout, limits: Default::default(), tls };
        let door = move |core: &Rc<Core>| {
            let mut stand = stand.lock().expect("not poisoned");
            stand.declared = text.lock().expect("not poisoned").clone();
            stand.door(core)
        };
        let server = if beside { Server::start_beside(&config, door) } else { Server::start(&config, door) };
        let server = server.expect("a server");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (address, origin) = (server.address(), Origin::default());
        Self { address, origin, tokens, lasting, declared, metrics, server, client }
    }

    /// Has the doors made anew with another text.
    pub async fn reload(&self, from: &str, to: &str) -> kernel::Result<()> {
        let text = self.declared.lock().expect("not poisoned").replace(from, to);
        *self.declared.lock().expect("not poisoned") = text;
        self.server.renewal().renew().await
    }

    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{target}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let response = self.client.request(request).await.expect("an answer");
        let headers =
            response.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
        let (status, headers) = (response.status().as_u16(), headers.collect());
        let body = response.into_body().collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
        Answer { status, headers, body }
    }

    pub async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", target, headers, Body::empty()).await
    }

    pub async fn stop(self) {
        self.server.drain(Drain { notice: Duration::ZERO, limit: Duration::from_secs(5) }).await;
    }
}
