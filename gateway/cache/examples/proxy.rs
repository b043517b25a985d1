//! A reverse proxy that is nothing but the cache: `proxy LISTEN ORIGIN`, for looking at the cache alone and for the
//! public http-cache-tests. Not for the front door, which does far more before and after.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri};
use http_cache::{Cache, Config, Policy, PolicyConfig, Route, Scope};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kernel::{Clock, Error};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

type Upstream = Client<HttpConnector, Body>;

/// The policy that the suite is run with: all that the RFCs allow.
fn policy() -> PolicyConfig {
    PolicyConfig {
        heuristics: true,
        methods: ["GET", "HEAD", "POST"].map(String::from).to_vec(),
        store_set_cookie: true,
        surrogate_control: true,
        // The suite's origin has to see the suite's own headers.
        forward_headers: vec!["*".into()],
        ..PolicyConfig::default()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen: SocketAddr = arguments.next().ok_or("proxy LISTEN ORIGIN")?.parse()?;
    let origin: Uri = arguments.next().ok_or("proxy LISTEN ORIGIN")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(listen, origin))
}

async fn serve(listen: SocketAddr, origin: Uri) -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::new(&Config::default(), Clock::system(), &tokio::runtime::Handle::current())?;
    let policy = Arc::new(Policy::compile(&policy())?);
    // A pooled connection that the origin closes meanwhile would make the client ask twice, which the suite resents.
    let upstream: Upstream = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let origin = Rc::new(origin);
    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let (cache, policy, upstream, origin) = (cache.clone(), policy.clone(), upstream.clone(), origin.clone());
        spawn_local(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (cache, policy, upstream, origin) =
                    (cache.clone(), policy.clone(), upstream.clone(), origin.clone());
                async move {
                    Ok::<_, std::convert::Infallible>(
                        answer(cache, policy, upstream, origin, request.map(Body::new)).await,
                    )
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(
    cache: Cache,
    policy: Arc<Policy>,
    upstream: Upstream,
    origin: Rc<Uri>,
    mut request: Request<Body>,
) -> Response<Body> {
    strip_hop_by_hop(request.headers_mut());
    let scope = Scope::public(false);
    let route = Route { policy: &policy, scope: &scope, parameter: &|_| None };
    let fetch = move |request| fetch(upstream.clone(), origin.clone(), request);
    match cache.answer(&route, request, fetch).await {
        Ok(mut response) => {
            strip_hop_by_hop(response.headers_mut());
            response
        }
        Err(error) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, error.message().to_owned()).into_response()
        }
    }
}

async fn fetch(upstream: Upstream, origin: Rc<Uri>, mut request: Request<Body>) -> kernel::Result<Response<Body>> {
    let failed = |error: &dyn std::error::Error| {
        Error::unavailable("gateway.upstream_failed", "the origin did not answer")
            .status_code(502)
            .context(error.to_string())
    };
    let mut parts = origin.as_ref().clone().into_parts();
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| failed(&error))?;
    request.headers_mut().remove(HOST);
    let response = upstream.request(request).await.map_err(|error| failed(&error))?;
    Ok(response.map(Body::new))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let named: Vec<HeaderName> =
        lines.flat_map(|line| line.split(',')).filter_map(|name| HeaderName::try_from(name.trim()).ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "te"] {
        headers.remove(name);
    }
}
