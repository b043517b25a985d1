use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::Client;
use crate::{adjust, apps};

/// How long something may take to come before the test has failed.
const LIMIT: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(address: SocketAddr, query: &str) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{query}");
        let (socket, answer) = tokio_tungstenite::connect_async(url).await.expect("an upgrade");
        assert_eq!(answer.status(), 101);
        Self(socket)
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("sent");
    }

    /// Returns the next text that is not a ping; nothing when the server has closed.
    async fn hear(&mut self) -> Option<String> {
        loop {
            let next = tokio::time::timeout(LIMIT, self.0.next()).await.expect("the server says something");
            match next {
                Some(Ok(Message::Text(text))) if text == "2" => self.say("3").await,
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
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
    let app = apps().await.remove(0);
    let (tenant, address) = (app.tenant("farm").await, app.listen().await);
    let (mut staff, mut viewer) = (Socket::open(address, "").await, Socket::open(address, "").await);
    for (socket, token) in [(&mut staff, &tenant.staff_token), (&mut viewer, &tenant.viewer_token)] {
        assert!(socket.hear().await.is_some_and(|text| text.starts_with("0{") && text.contains("\"upgrades\":[]")));
        socket.enter(token).await;
    }
    adjust(&app, tenant.id, [4711]).await;
    assert_eq!(staff.event("inventory:update").await["data"]["quantity"], 4711);
    assert!(viewer.event("inventory:summary").await.get("data").is_none());
    app.post("/api/auth/logout").token(&tenant.staff_token).send().await;
    assert_eq!(staff.hear().await.as_deref(), Some("1"), "the transport is closed, not the namespace");
    assert_eq!(staff.hear().await, None);
    adjust(&app, tenant.id, [1]).await;
    viewer.event("inventory:summary").await;
    assert_eq!(app.connections().len(), 1);
    app.connections().close();
    assert_eq!(viewer.hear().await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_is_upgraded_and_loses_nothing() {
    let app = apps().await.remove(0);
    let (tenant, address) = (app.tenant("farm").await, app.listen().await);
    let (client, _) = Client::connect(&app, &tenant.staff_token).await;
    let mut socket = Socket::open(address, &format!("&sid={}", client.sid())).await;
    adjust(&app, tenant.id, [1]).await;
    socket.say("2probe").await;
    assert_eq!(socket.hear().await.as_deref(), Some("3probe"));
    adjust(&app, tenant.id, [2]).await;
    socket.say("5").await;
    adjust(&app, tenant.id, [3]).await;
    for amount in 1..=3 {
        assert_eq!(socket.event("inventory:update").await["data"]["quantity"], amount);
    }
    socket.say(&format!("42[\"{}\"]", "a".repeat(20_000))).await;
    assert_eq!(socket.hear().await.filter(|text| text != "1"), None, "what is too large ends it");
}
