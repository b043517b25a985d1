//! The little HTTP that the command line speaks with a running server. Not for services, which
//! have backends.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kernel::{Error, Result};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);
const LIMIT: usize = 1 << 20;

/// Sends JSON to a server on this machine and returns status and JSON.
pub(crate) async fn post(address: SocketAddr, path: &str, token: &str, body: &Value) -> Result<(u16, Value)> {
    send(Method::POST, address, path, token, Body::from(body.to_string())).await
}

/// Reads from a server on this machine and returns status and JSON.
pub(crate) async fn get(address: SocketAddr, path: &str, token: &str) -> Result<(u16, Value)> {
    send(Method::GET, address, path, token, Body::empty()).await
}

async fn send(method: Method, address: SocketAddr, path: &str, token: &str, body: Body) -> Result<(u16, Value)> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let unreachable = || Error::unavailable("server.unreachable", format!("the server at {address} does not answer"));
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(body)
        .map_err(|error| Error::internal("a request could not be made").source_error(error))?;
    let response = tokio::time::timeout(TIMEOUT, client.request(request)).await.map_err(|_| unreachable())?;
    let response = response.map_err(|error| unreachable().source_error(error))?;
    let status = response.status().as_u16();
    let bytes = web::bytes_within(Body::new(response.into_body()), LIMIT).await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}
