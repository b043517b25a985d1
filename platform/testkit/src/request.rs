//! A request through the door, and what came back. Not for sockets: see the binary's tests.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value;
use web::PeerAddress;

use crate::app::TestApp;
use crate::stream::TestStream;

const ANSWER_LIMIT: usize = 64 << 20;

/// A request in the making.
#[must_use = "a request does nothing until it is sent"]
pub struct TestRequest<'a> {
    app: &'a TestApp,
    builder: http::request::Builder,
    method: Method,
    path: String,
    body: Vec<u8>,
    peer: IpAddr,
    away: bool,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct TestResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl<'a> TestRequest<'a> {
    pub(crate) fn new(app: &'a TestApp, method: Method, path: &str) -> Self {
        let builder = Request::builder().method(method.clone()).uri(path).header(header::HOST, "portico.test");
        Self { app, builder, method, path: path.to_owned(), body: Vec::new(), peer: [192, 0, 2, 1].into(), away: false }
    }

    /// Comes from this address instead of 192.0.2.1.
    pub fn from(mut self, peer: impl Into<IpAddr>) -> Self {
        self.peer = peer.into();
        self
    }

    /// Takes the door behind which the services are elsewhere.
    pub fn away(mut self, away: bool) -> Self {
        self.away = away;
        self
    }

    /// Sends this bearer token.
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends this header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sends this JSON.
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }

    /// Sends these bytes as they are.
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Walks through the door.
    pub async fn send(self) -> TestResponse {
        let stream = self.open().await;
        let (status, headers) = (stream.status, stream.headers.clone());
        let endless = stream.header("content-type").starts_with("text/event-stream");
        let body = if endless { stream.until_quiet().await } else { stream.whole(ANSWER_LIMIT).await };
        TestResponse { status, headers, body }
    }

    /// Walks through the door, and leaves the body to be read as it comes.
    pub async fn open(self) -> TestStream {
        let mut request = self.builder.body(Body::from(self.body)).expect("a valid request");
        request.extensions_mut().insert(PeerAddress(SocketAddr::new(self.peer, 50_000)));
        let door = if self.away { self.app.away() } else { self.app.door() };
        let response = door.handle(request).await;
        let path = self.path.split('?').next().unwrap_or_default();
        self.app.record_hit(&self.method, path, response.status());
        TestStream::new(response)
    }
}

impl TestResponse {
    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// Returns what is inside the shape, or the body where there is none.
    pub fn data(&self) -> Value {
        let mut json = self.json();
        if json.get("success").is_some() { json["data"].take() } else { json }
    }

    /// Returns the error code, shaped or plain.
    pub fn code(&self) -> String {
        let json = self.json();
        let code = json.get("code").or_else(|| json.get("error")?.get("code"));
        code.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Returns a header's text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Insists on a status, showing the body otherwise.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}
