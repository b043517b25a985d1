use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use web::Revocation;

use crate::house::House;

/// How long something may take to come before the test has failed.
const LIMIT: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(house: &House, query: &str) -> Self {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket{query}", house.address);
        let (socket, answer) = tokio_tungstenite::connect_async(url).await.expect("an upgrade");
        assert_eq!(answer.status(), 101);
        Self(socket)
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("sent");
    }

    /// Returns the next text; nothing when the server has closed.
    async fn hear(&mut self) -> Option<String> {
        let next = tokio::time::timeout(LIMIT, self.0.next()).await.expect("the server says something");
        match next {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => None,
            Some(Ok(other)) => panic!("{other:?}"),
        }
    }

    async fn event(&mut self, name: &str) -> Value {
        let text = self.hear().await.expect("open");
        let json: Value = serde_json::from_str(text.strip_prefix("42").expect("an event")).expect("JSON");
        assert_eq!(json[0], name, "{text}");
        json[1].clone()
    }

    async fn enter(&mut self, token: &str) -> Value {
        self.say(&format!("40{}", json!({ "token": token }))).await;
        assert!(self.hear().await.is_some_and(|text| text.starts_with("40{\"sid\"")));
        self.event("ready").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_alone_is_enough() {
    let house = House::open().await;
    let (mut staff, mut viewer) = (Socket::open(&house, "").await, Socket::open(&house, "").await);
    for (socket, token) in [(&mut staff, "staff"), (&mut viewer, "viewer")] {
        assert!(socket.hear().await.is_some_and(|text| text.starts_with("0{") && text.contains("\"upgrades\":[]")));
        socket.enter(token).await;
    }
    house.adjust(4711).await;
    assert_eq!(staff.event("inventory:update").await["data"]["quantity"], 4711);
    assert!(viewer.event("inventory:summary").await.get("data").is_none());
    house.connections.revoke(&Revocation::Credential("staff".into()));
    assert_eq!(staff.hear().await.as_deref(), Some("1"), "the transport is closed, not the namespace");
    assert_eq!(staff.hear().await, None);
    house.adjust(1).await;
    viewer.event("inventory:summary").await;
    assert_eq!(house.connections.len(), 1);
    house.stop().await;
    assert_eq!(viewer.hear().await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_is_upgraded_and_loses_nothing() {
    let house = House::open().await;
    let base = format!("/socket.io/?EIO=4&transport=polling&t={}", std::process::id());
    let opened = ask(&house, "GET", &base, "").await;
    let opened: Value = serde_json::from_str(opened.strip_prefix('0').expect("an open packet")).expect("JSON");
    let sid = opened["sid"].as_str().expect("a session");
    let polling = format!("{base}&sid={sid}");
    assert_eq!(ask(&house, "POST", &polling, "40{\"token\":\"staff\"}").await, "ok");
    let mut polled = String::new();
    while !polled.contains("\"ready\"") {
        polled += &ask(&house, "GET", &polling, "").await;
    }
    let mut socket = Socket::open(&house, &format!("&sid={sid}")).await;
    house.adjust(1).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await.as_deref(), Some("3probe"));
    house.adjust(2).await;
    socket.say("5").await;
    house.adjust(3).await;
    for amount in 1..=3 {
        assert_eq!(socket.event("inventory:update").await["data"]["quantity"], amount);
    }
    // What is too large, or binary, ends it.
    socket.say(&format!("42[\"{}\"]", "a".repeat(20_000))).await;
    assert_eq!(socket.hear().await.filter(|text| text != "1"), None);
    house.stop().await;
}

/// Sends a request on a connection of its own, and returns the body.
async fn ask(house: &House, method: &str, path: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(house.address).await.expect("a connection");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: portico.test\r\nconnection: close\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}
