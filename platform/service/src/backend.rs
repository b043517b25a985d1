//! Where a request is handed to: a router in this process or a pool of connections to another.
//! Callers cannot tell which; both get the same ids, caller and deadlines. Not for choosing among
//! several upstreams: that is the gateway's.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::HOST;
use http::{HeaderValue, Uri, uri};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kernel::{Clock, Error, Result};
use tokio::runtime::Handle;
use tower::ServiceExt as _;
use web::{CONTEXT_HEADER, CORRELATION_ID_HEADER, ContextKey, REQUEST_ID_HEADER, RequestIds, SignedContext, Standing};

/// Takes requests for a service.
#[derive(Clone)]
pub enum Backend {
    /// The service runs in this process.
    Local(Local),
    /// The service runs elsewhere.
    Remote(Box<Remote>),
}

impl Backend {
    /// Hands the request over and waits for the head of the response.
    pub async fn call(&self, request: Request, path: &str) -> Result<Response> {
        match self {
            Self::Local(local) => local.call(request).await,
            Self::Remote(remote) => remote.call(request, path).await,
        }
    }
}

/// A service in this process, on the runtime of the services.
#[derive(Clone)]
pub struct Local {
    router: Router,
    runtime: Handle,
}

impl Local {
    /// Returns a backend that calls the router on this runtime.
    pub fn new(router: Router, runtime: Handle) -> Self {
        Self { router, runtime }
    }

    /// An unsafe request runs to its end even when the client goes away; a safe one stops.
    async fn call(&self, request: Request) -> Result<Response> {
        let stops = request.method().is_safe();
        let router = self.router.clone();
        let task = self.runtime.spawn(async move { router.oneshot(request).await });
        let _stop = stops.then(|| AbortOnDrop(task.abort_handle()));
        match task.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(error) => Err(Error::internal("a handler panicked or was cancelled").source_error(error)),
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A service in another process.
#[derive(Clone)]
pub struct Remote {
    authority: uri::Authority,
    host: HeaderValue,
    client: Client<HttpConnector, Body>,
    key: Option<ContextKey>,
    clock: Clock,
    timeout: Duration,
}

impl Remote {
    /// Returns a backend that calls `http://host:port`; with a key, the caller is signed for it.
    /// Connections belong to the runtime that makes them: make one per gateway core.
    pub fn new(url: &str, key: Option<ContextKey>, clock: Clock, timeout: Duration) -> Result<Self> {
        let wrong = || Error::invalid("config.upstream_url", format!("{url} must look like http://host:port"));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let plain =
            uri.scheme_str() == Some("http") && uri.path().trim_end_matches('/').is_empty() && uri.query().is_none();
        let authority = uri.authority().filter(|_| plain).cloned().ok_or_else(wrong)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector);
        let host = HeaderValue::try_from(authority.as_str()).map_err(|_| wrong())?;
        Ok(Self { authority, host, client, key, clock, timeout })
    }

    async fn call(&self, request: Request, path: &str) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        let target = match parts.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let bad_path = |error| Error::internal("the upstream path is not valid").source_error(error);
        parts.uri = Uri::builder()
            .scheme(uri::Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(bad_path)?;
        parts.version = http::Version::HTTP_11;
        parts.headers.insert(HOST, self.host.clone());
        if let Some(ids) = parts.extensions.remove::<RequestIds>() {
            let value = |id: &kernel::RequestId| HeaderValue::try_from(id.as_str()).expect("request ids are ASCII");
            parts.headers.insert(REQUEST_ID_HEADER, value(&ids.request));
            parts.headers.insert(CORRELATION_ID_HEADER, value(&ids.correlation));
            if let Some(key) = &self.key {
                let (principal, client) = (parts.extensions.remove(), parts.extensions.remove());
                let until = parts.extensions.remove::<Standing>().map(|standing| standing.until);
                let context = SignedContext { ids, principal, client, until };
                let signed = key.sign(&parts.method, path, &context, self.clock.now());
                parts.headers.insert(CONTEXT_HEADER, signed);
            }
        }
        parts.extensions.clear();
        let answered = tokio::time::timeout(self.timeout, self.client.request(Request::from_parts(parts, body))).await;
        match answered {
            Ok(Ok(response)) => Ok(response.map(|body| Body::new(body.map_err(Arc::new)))),
            Ok(Err(error)) => {
                let away = Error::unavailable("gateway.upstream_unreachable", "the service behind this route is away");
                Err(away.status_code(502).retry_after(2).source_error(error))
            }
            Err(_) => {
                let late = Error::unavailable(
                    "gateway.upstream_timeout",
                    "the service behind this route did not answer in time",
                );
                Err(late.status_code(504).retry_after(2))
            }
        }
    }
}
