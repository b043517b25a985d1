//! An origin that counts per tenant and path, and fails as the last part of the path says: how often it was
//! asked shows in its answers, so that a kept answer, a fresh one and a second attempt differ. For
//! `tenants_apart`.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::watch;

#[derive(Default)]
struct Seen {
    asked: BTreeMap<(String, String), usize>,
    /// Requests that wait, and those that may go on.
    waiting: HashSet<String>,
    released: watch::Sender<HashSet<String>>,
}

/// The origin; cloning it shares it.
#[derive(Clone, Default)]
pub struct FlawedOrigin(Arc<Mutex<Seen>>);

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

impl FlawedOrigin {
    /// Listens at a port of its own; another call gives it a second address.
    pub async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let origin = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = origin.clone();
                let answer = service_fn(move |request| {
                    let origin = origin.clone();
                    async move { origin.answer(request).await }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        address
    }

    /// Says whether a request to this path waits here.
    pub fn holds(&self, path: &str) -> bool {
        self.seen().waiting.contains(path)
    }

    /// Lets the request to this path go on.
    pub fn release(&self, path: &str) {
        self.seen().released.send_if_modified(|released| released.insert(path.to_owned()));
    }

    /// Returns how often this tenant asked for this path.
    pub fn asked(&self, tenant: &str, path: &str) -> usize {
        self.seen().asked.get(&(tenant.to_owned(), path.to_owned())).copied().unwrap_or_default()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("not poisoned")
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, &'static str> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let (path, tenant) = (parts.uri.path().to_owned(), header(&parts.headers, "x-tenant-id"));
        let what = path.rsplit('/').next().unwrap_or_default().to_owned();
        if what == "reset" {
            // Not counted: whether a connection was new when it broke is the pool's affair.
            return Err("the connection breaks");
        }
        let number = {
            let mut seen = self.seen();
            let number = seen.asked.entry((tenant.clone(), path.clone())).or_default();
            *number += 1;
            *number
        };
        if what == "slow" {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        if path.starts_with("/held/") {
            self.seen().waiting.insert(path.clone());
            let mut released = self.seen().released.subscribe();
            drop(released.wait_for(|released| released.contains(&path)).await);
        }
        let status = match what.as_str() {
            "fails" => StatusCode::INTERNAL_SERVER_ERROR,
            "busy" => StatusCode::SERVICE_UNAVAILABLE,
            "flaky" if number % 2 == 1 => StatusCode::SERVICE_UNAVAILABLE,
            "missing" => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        };
        let told = json!({
            "tenant": tenant,
            "user": header(&parts.headers, "x-user-id"),
            "mark": header(&parts.headers, "x-shop-mark"),
            "target": parts.uri.to_string(),
            "method": parts.method.as_str(),
            "number": number,
            "body": String::from_utf8_lossy(&body),
            // Where a test wants much of it.
            "padding": "x".repeat(if path.starts_with("/large/") { 200_000 } else { 0 }),
        });
        let response = Response::builder().status(status).header("content-type", "application/json");
        Ok(response.body(Body::from(told.to_string())).expect("a response"))
    }
}
