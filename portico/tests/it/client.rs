//! One HTTP/1.1 connection that tells exactly how a request ended: answered, never sent, closed
//! before an answer, or cut inside one. A pooled client would hide that by trying again. Not for
//! speed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Far above what any answer takes; a test that gets here has found a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection, with the token that its requests carry.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: SocketAddr,
    token: Option<Arc<str>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How a request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The connection was closed before anything was written to it.
    NotSent,
    /// The connection was closed in an orderly way: the other side had closed before it arrived.
    Closed,
    /// The connection was reset: the other side had it and threw it away.
    Reset,
    /// A part of the answer came.
    Cut,
}

impl Answer {
    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns what stands under `data`, the shape of the inventory's answers.
    pub fn data(&self) -> Value {
        self.json()["data"].take()
    }

    /// Returns the code of a problem, plain or shaped.
    pub fn code(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let code = json["code"].as_str().or(json["error"]["code"].as_str());
        code.unwrap_or_default().to_owned()
    }

    /// Returns the version in the ETag.
    pub fn version(&self) -> Option<i64> {
        let tag = self.headers.get(header::ETAG)?.to_str().ok()?;
        tag.strip_prefix("\"v")?.strip_suffix('"')?.parse().ok()
    }

    /// Says whether it is a success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the answer when it has this status, and panics with its body otherwise.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        self
    }
}

impl Client {
    /// Opens a connection.
    pub async fn connect(address: SocketAddr, token: Option<Arc<str>>) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address).await?, address, token).await
    }

    /// Speaks over this stream.
    pub async fn over(stream: TcpStream, host: SocketAddr, token: Option<Arc<str>>) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(std::io::Error::other)?;
        // Ends with the connection; what happened to a request is told where it was sent.
        tokio::spawn(connection);
        Ok(Self { sender, host, token })
    }

    /// Starts a request.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let builder = Request::builder().method(method).uri(path);
        let builder = builder.header(header::HOST, self.host.to_string());
        match &self.token {
            Some(token) => builder.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => builder,
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn begin(
        &mut self,
        request: http::request::Builder,
        body: Option<&Value>,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Full::from(body.to_string())),
            None => request.body(Full::default()),
        };
        let request = request.expect("a valid request");
        // Sees a close that has arrived already.
        if self.sender.ready().await.is_err() {
            return Err(Unanswered::NotSent);
        }
        let sent = tokio::time::timeout(LIMIT, self.sender.try_send_request(request));
        match sent.await.expect("an answer within a minute") {
            Ok(response) => Ok(response),
            Err(mut failed) => Err(match failed.take_message() {
                Some(_) => Unanswered::NotSent,
                None => why(&failed.into_error()),
            }),
        }
    }

    /// Sends a request and reads its answer.
    pub async fn send(&mut self, request: http::request::Builder, body: Option<&Value>) -> Result<Answer, Unanswered> {
        let response = self.begin(request, body).await?;
        let (parts, body) = response.into_parts();
        let read = tokio::time::timeout(LIMIT, body.collect()).await;
        match read.expect("a body within a minute") {
            Ok(collected) => {
                Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: collected.to_bytes() })
            }
            Err(_) => Err(Unanswered::Cut),
        }
    }

    /// Sends a request with this text and reads its answer.
    pub async fn send_text(&mut self, request: http::request::Builder, text: &str) -> Result<Answer, Unanswered> {
        let request = request.body(Full::from(text.to_owned())).expect("a valid request");
        let sent = tokio::time::timeout(LIMIT, self.sender.send_request(request)).await;
        let (parts, body) = sent.expect("an answer within a minute").map_err(|error| why(&error))?.into_parts();
        let body = tokio::time::timeout(LIMIT, body.collect()).await.expect("a body within a minute");
        let body = body.map_err(|_| Unanswered::Cut)?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Gets a path that must answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        self.send(request, None).await.expect("an answer")
    }

    /// Reads all pages of a list.
    pub async fn pages(&mut self, path: &str) -> Vec<Value> {
        let (mut items, mut next) = (Vec::new(), path.to_owned());
        loop {
            let mut page = self.get(&next).await.expect(200).json();
            if page["items"].is_null() {
                page = page["data"].take();
            }
            let Value::Array(more) = page["items"].take() else { panic!("not a page: {path}") };
            items.extend(more);
            let Some(cursor) = page["next"].as_str() else {
                return items;
            };
            next = format!("{path}&cursor={cursor}");
        }
    }

    /// Posts JSON to a path that must answer.
    pub async fn post(&mut self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path);
        self.send(request, Some(body)).await.expect("an answer")
    }
}

fn why(error: &hyper::Error) -> Unanswered {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::ConnectionReset => Unanswered::Reset,
                _ => Unanswered::Closed,
            };
        }
        source = inner.source();
    }
    if error.is_canceled() || error.is_closed() || error.is_incomplete_message() {
        Unanswered::Closed
    } else {
        Unanswered::Cut
    }
}
