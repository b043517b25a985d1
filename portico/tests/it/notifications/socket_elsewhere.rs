use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use web::Revocation;

use super::socket::{Tab, code_of, json_of};
use super::{LIST, both_ways};

/// The same person's tabs at a door with the service behind it and at one with the service in another process.
struct Pair([Tab; 2]);

impl Pair {
    async fn open(addresses: [SocketAddr; 2], token: &str) -> Self {
        let mut pair = Self([Tab::open(addresses[0], token, "").await, Tab::open(addresses[1], token, "").await]);
        assert_eq!(pair.said().await["type"], "ready");
        pair
    }

    /// Returns what both are told.
    async fn next(&mut self) -> Message {
        let [here, there] = &mut self.0;
        let (here, there) = (here.next().await, there.next().await);
        assert_eq!(here, there);
        here
    }

    async fn said(&mut self) -> Value {
        json_of(&self.next().await)
    }

    async fn closed(&mut self) -> u16 {
        code_of(&self.next().await)
    }

    async fn send(&mut self, message: Message) {
        for tab in &mut self.0 {
            let _ = tab.0.send(message.clone()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_through_another_process_cannot_be_told_from_one_here() {
    for post in both_ways().await {
        let (tenant, staff) = post.tenant().await;
        let addresses = [post.app.listen().await, post.app.listen_away().await];
        let mut pair = Pair::open(addresses, &staff.token).await;
        for noise in [Message::Text("{".into()), Message::Binary(vec![0; 9].into()), Message::Text("null".into())] {
            pair.send(noise).await;
        }
        post.low_stock(&tenant, "A", 1).await;
        let rung = pair.said().await;
        assert_eq!((&rung["type"], &rung["unreadCount"]), (&json!("notification"), &json!(1)));
        let id = rung["notification"]["id"].as_str().expect("an id");
        post.app.post(&format!("{LIST}/{id}/mark-read")).token(&staff.token).send().await.expect(200);
        post.app.relay().await;
        assert_eq!(pair.said().await["type"], "read");

        // A credential that another has taken the place of may end; one that nobody renewed ends the socket.
        let (first, second) = (post.app.session(&tenant).await, post.app.session(&tenant).await);
        let (mut renewed, mut ends) = (Pair::open(addresses, &first).await, Pair::open(addresses, &second).await);
        post.app.clock().shift(400_000_000);
        let third = post.app.session(&tenant).await;
        renewed.send(Message::Text(json!({ "type": "renew", "token": third }).to_string().into())).await;
        assert_eq!(renewed.said().await["type"], "renewed");
        post.app.clock().shift(300_000_000);
        ends.send(Message::Text("{}".into())).await;
        assert_eq!(ends.closed().await, 4401);
        renewed.send(Message::Text(json!({ "type": "renew", "token": third }).to_string().into())).await;
        assert_eq!(renewed.said().await["type"], "renewed", "it outlives the token that it was opened with");

        // Taken back.
        let me = post.app.get("/api/auth/me").token(&staff.token).send().await.expect(200).json();
        let user = me["id"].as_str().or(me["user"]["id"].as_str()).expect("an id").to_owned();
        let path = format!("/api/v1/identity/members/{user}");
        post.app.request(Method::DELETE, &path).token(&tenant.admin_token).send().await.expect(204);
        assert_eq!(pair.closed().await, 4401);

        // Too much at once.
        let mut noisy = Pair::open(addresses, &tenant.admin_token).await;
        noisy.send(Message::Text("x".repeat(1 << 20).into())).await;
        let mut ends = Vec::new();
        for tab in &mut noisy.0 {
            let end = tokio::time::timeout(Duration::from_secs(20), tab.0.next())
                .await
                .expect("who sends too much is cut off");
            ends.push(matches!(end, Some(Ok(Message::Text(_)))));
        }
        assert_eq!(ends, [false, false]);

        let mut last = Pair::open(addresses, &tenant.admin_token).await;
        post.app.connections().revoke(&Revocation::Everything);
        assert_eq!(last.closed().await, 4401);
        post.app.connections().close();
        for address in addresses {
            let mut late = Tab::open(address, &tenant.viewer_token, "").await;
            assert!(matches!(late.next().await, Message::Close(Some(frame)) if u16::from(frame.code) == 1012));
        }
    }
}
