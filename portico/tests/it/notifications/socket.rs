use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use kernel::Actor;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use web::{Principal, Revocation};

use super::{LIST, Post, posts};

const PATH: &str = "/api/notifications/ws";
/// How long something may take that has to come before the test has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A browser's tab with an open socket.
pub(super) struct Tab(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Tab {
    async fn try_open(address: SocketAddr, token: &str, query: &str) -> Result<Self, Error> {
        let mut request = format!("ws://{address}{PATH}{query}").into_client_request().expect("a request");
        let token = format!("Bearer {token}").parse().expect("a value");
        request.headers_mut().insert("authorization", token);
        tokio_tungstenite::connect_async(request).await.map(|(socket, _)| Self(socket))
    }

    pub async fn open(address: SocketAddr, token: &str, query: &str) -> Self {
        Self::try_open(address, token, query).await.expect("it opens")
    }

    pub async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(LIMIT, self.0.next()).await;
        next.expect("a message in time").expect("it is open").expect("a message")
    }

    async fn said(&mut self) -> Value {
        json_of(&self.next().await)
    }

    async fn closed(&mut self) -> u16 {
        code_of(&self.next().await)
    }
}

/// Returns what a message says.
pub fn json_of(message: &Message) -> Value {
    match message {
        Message::Text(text) => serde_json::from_str(text).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

/// Returns why a connection was closed.
pub fn code_of(message: &Message) -> u16 {
    match message {
        Message::Close(Some(frame)) => frame.code.into(),
        other => panic!("{other:?}"),
    }
}

async fn ready(post: &Post, address: SocketAddr, token: &str) -> (Tab, i64) {
    let mut tab = Tab::open(address, token, "").await;
    let ready = tab.said().await;
    let position = ready["position"].as_i64().expect("a position");
    assert_eq!((&ready["type"], &ready["reset"]), (&json!("ready"), &json!(false)));
    assert_eq!(ready["unreadCount"], post.told(token).await.1);
    (tab, position)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bell_rings_in_every_tab_and_only_for_whose_it_is() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let address = post.app.listen().await;
        let (mut first, began) = ready(&post, address, &staff.token).await;
        let (mut second, _) = ready(&post, address, &staff.token).await;
        let (mut viewer, _) = ready(&post, address, &tenant.viewer_token).await;
        post.low_stock(&tenant, "A", 1).await;
        let rung = first.said().await;
        assert_eq!((&rung["type"], &rung["unreadCount"]), (&json!("notification"), &json!(1)));
        let listed = post.page(&staff.token, "").await["items"][0].clone();
        assert_eq!(rung["notification"], listed, "as the list shows it");
        assert!(rung["position"].as_i64().expect("a position") > began);
        assert_eq!(second.said().await, rung);
        let id = listed["id"].as_str().expect("an id");
        post.app.post(&format!("{LIST}/{id}/mark-read")).token(&staff.token).send().await.expect(200);
        post.app.relay().await;
        let read = second.said().await;
        let wanted = json!({
            "type": "read", "id": id, "upTo": null, "unreadCount": 0, "position": read["position"],
        });
        assert_eq!(read, wanted);
        post.low_stock(&tenant, "B", 1).await;
        second.said().await;
        post.app.post(&format!("{LIST}/mark-all-read")).token(&staff.token).send().await.expect(200);
        post.app.relay().await;
        let all = second.said().await;
        assert_eq!(
            (&all["type"], &all["id"], &all["upTo"], &all["unreadCount"]),
            (&json!("read"), &Value::Null, &json!(2), &json!(0))
        );
        // The viewer has heard of nothing of this.
        post.app.connections().revoke(&Revocation::Everything);
        assert_eq!(viewer.closed().await, 4401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_what_was_missed_and_nothing_twice() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let address = post.app.listen().await;
        let (mut tab, _) = ready(&post, address, &staff.token).await;
        post.low_stock(&tenant, "A", 1).await;
        let heard = tab.said().await;
        let (position, epoch) = (heard["position"].as_i64().expect("a position"), "");
        drop(tab);
        for item in ["B", "C", "D"] {
            post.low_stock(&tenant, item, 1).await;
        }
        let mut tab = Tab::open(address, &staff.token, &format!("?after={position}{epoch}")).await;
        for item in ["B", "C", "D"] {
            assert_eq!(tab.said().await["notification"]["object"], item);
        }
        let ready = tab.said().await;
        assert_eq!(
            (&ready["type"], &ready["reset"], &ready["unreadCount"]),
            (&json!("ready"), &json!(false), &json!(4))
        );
        post.low_stock(&tenant, "E", 1).await;
        assert_eq!(tab.said().await["notification"]["object"], "E");
        for wrong in ["?after=0&epoch=another", "?after=999999999", "?after=-1"] {
            let mut tab = Tab::open(address, &staff.token, wrong).await;
            let ready = tab.said().await;
            assert_eq!((&ready["type"], &ready["reset"]), (&json!("ready"), &json!(true)), "{wrong}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_closed_when_the_credential_ends_is_revoked_or_the_process_stops() {
    for post in posts().await {
        let (tenant, _) = post.tenant().await;
        let address = post.app.listen().await;
        let (mut revoked, _) = ready(&post, address, &tenant.staff_token).await;
        let (mut expires, _) = ready(&post, address, &tenant.viewer_token).await;
        let (mut stays, _) = ready(&post, address, &tenant.admin_token).await;
        let staff = post.app.get("/api/auth/me").token(&tenant.staff_token).send().await.expect(200).json();
        let user = staff["id"].as_str().or(staff["user"]["id"].as_str()).expect("an id").to_owned();
        let path = format!("/api/v1/identity/members/{user}");
        post.app.request(http::Method::DELETE, &path).token(&tenant.admin_token).send().await.expect(204);
        assert_eq!(revoked.closed().await, 4401);
        // Whatever wakes it next finds the time over: a client that says something, for one.
        let _ = expires.0.send(Message::Text("{}".into())).await;
        post.app.clock().shift(91 * 24 * 3_600_000_000);
        let _ = expires.0.send(Message::Text("{}".into())).await;
        assert_eq!(expires.closed().await, 4401);
        let fresh = post.app.mint(post.app.principal(&tenant));
        let renew = json!({ "type": "renew", "token": fresh }).to_string();
        let _ = &mut stays;
        let (mut renewed, _) = ready(&post, address, &fresh).await;
        renewed.0.send(Message::Text(renew.into())).await.expect("sent");
        assert_eq!(renewed.said().await["type"], "renewed");
        post.app.connections().close();
        assert_eq!(renewed.closed().await, 1012);
        let mut late = Tab::open(address, &fresh, "").await;
        assert_eq!(late.closed().await, 1012, "open, and closed with a code that scripts can see");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_get_nowhere() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let address = post.app.listen().await;
        let plain = post.app.get(PATH).token(&staff.token).send().await.expect(426);
        assert_eq!(plain.code(), "request.upgrade_required");
        post.app.get(PATH).send().await.expect(401);
        match Tab::try_open(address, "ptc_wrong", "").await.err().expect("refused") {
            Error::Http(answer) => assert_eq!(answer.status(), StatusCode::UNAUTHORIZED),
            other => panic!("{other}"),
        }
        let (mut tab, _) = ready(&post, address, &staff.token).await;
        for noise in ["", "{", "[]", "{\"type\":\"renew\"}", "{\"type\":\"read\",\"id\":\"x\"}", "null"] {
            tab.0.send(Message::Text(noise.into())).await.expect("sent");
        }
        tab.0.send(Message::Binary(vec![0; 100].into())).await.expect("sent");
        post.low_stock(&tenant, "A", 1).await;
        assert_eq!(tab.said().await["type"], "notification", "noise is not heard");
        let somebody_else = Principal { actor: Actor::User(staff.user), ..post.app.principal(&tenant) };
        let mut other = Tab::open(address, &tenant.admin_token, "").await;
        other.said().await;
        let token = post.app.mint(somebody_else);
        let renew = json!({ "type": "renew", "token": token }).to_string();
        other.0.send(Message::Text(renew.into())).await.expect("sent");
        assert_eq!(other.closed().await, 4401, "a socket stays one person's");
        let _ = tab.0.send(Message::Text("x".repeat(1 << 20).into())).await;
        let end = tokio::time::timeout(LIMIT, async { while let Some(Ok(_)) = tab.0.next().await {} }).await;
        assert!(end.is_ok(), "who sends too much is cut off");
        assert_eq!(post.told(&staff.token).await.1, 1);
    }
}
