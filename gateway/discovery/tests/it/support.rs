//! What the tests share: lists as short text, waiting for what must come, ports, and raw HTTP.

use std::net::SocketAddr;

use discovery::{Config, Discovery, Endpoint, Guard};
use fixtures::eventually;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

pub fn start(config: &Config) -> Guard {
    Discovery::start("items", config, &Handle::current(), |_| {}).expect("started")
}

/// A list as `host:port*weight host:port*weight`.
pub fn short(endpoints: &[Endpoint]) -> String {
    let one = |endpoint: &Endpoint| format!("{}*{}", endpoint.url.trim_start_matches("http://"), endpoint.weight);
    endpoints.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Waits until the list is this one.
pub async fn becomes(guard: &Guard, expected: &str) {
    eventually(&format!("the list is `{expected}`"), async || {
        guard.state().heard && short(&guard.endpoints()) == expected
    })
    .await;
}

/// Posts JSON and returns the JSON of the answer; nothing when there is none.
pub async fn post(at: SocketAddr, path: &str, body: &Value) -> Option<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(at).await.ok()?;
    let request = format!("POST {path} HTTP/1.0\r\nhost: {at}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| serde_json::from_str(body).ok())?
}
