//! A Socket.IO client over polling, by hand: what it sends and gets is plain text.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{TestApp, TestResponse};

/// How long something may take to come before the test has failed.
const LIMIT: Duration = Duration::from_secs(20);
const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

/// A client.
pub struct Client<'a> {
    app: &'a TestApp,
    path: String,
    inbox: VecDeque<String>,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Connected,
    Refused(Value),
    /// From another namespace than the one there is.
    Elsewhere(String),
    Event(String, Value),
    Answer(u64, Value),
    Closed,
}

impl<'a> Client<'a> {
    /// Opens a transport; with a token in the header when there is one.
    pub async fn open(app: &'a TestApp, token: Option<&str>) -> Self {
        let request = app.get(OPEN);
        let request = if let Some(token) = token { request.token(token) } else { request };
        let opened = request.send().await.expect(200).text();
        let opened: Value = serde_json::from_str(opened.strip_prefix('0').expect("an open packet")).expect("JSON");
        assert!(opened["upgrades"].as_array().is_some_and(|upgrades| upgrades.contains(&json!("websocket"))));
        let sid = opened["sid"].as_str().expect("a session").to_owned();
        Self { app, path: format!("{OPEN}&sid={sid}"), inbox: VecDeque::new() }
    }

    /// Opens a transport and brings this.
    pub async fn bring(app: &'a TestApp, auth: Value) -> Self {
        let client = Self::open(app, None).await;
        client.send(&format!("0{auth}")).await.expect(200);
        client
    }

    /// Comes in with a token, and says what `ready` says.
    pub async fn connect(app: &'a TestApp, token: &str) -> (Self, Value) {
        let mut client = Self::bring(app, json!({ "token": token })).await;
        assert_eq!(client.next().await, Said::Connected);
        let ready = client.event("ready").await;
        (client, ready)
    }

    /// Comes back with a token and what it has seen last.
    pub async fn resume(app: &'a TestApp, token: &str, last: Value) -> Self {
        let mut client = Self::bring(app, json!({ "token": token, "lastPos": last })).await;
        assert_eq!(client.next().await, Said::Connected);
        client
    }

    /// Returns the name of its session.
    pub fn sid(&self) -> &str {
        self.path.rsplit_once("sid=").map_or("", |(_, sid)| sid)
    }

    /// Sends a packet of Socket.IO.
    pub async fn send(&self, packet: &str) -> TestResponse {
        self.send_raw(&format!("4{packet}")).await
    }

    /// Sends a packet of Engine.IO.
    pub async fn send_raw(&self, packet: &str) -> TestResponse {
        self.app.post(&self.path).header("content-type", "text/plain;charset=UTF-8").bytes(packet).send().await
    }

    /// Waits for what the server says next.
    pub async fn next(&mut self) -> Said {
        tokio::time::timeout(LIMIT, self.read()).await.expect("the server says something")
    }

    async fn read(&mut self) -> Said {
        loop {
            while let Some(packet) = self.inbox.pop_front() {
                match packet.split_at_checked(1) {
                    Some(("4", message)) => return said(message),
                    Some(("1", _)) => return Said::Closed,
                    // A ping is answered, as a client does.
                    Some(("2", _)) => drop(self.send_raw("3").await),
                    _ => {}
                }
            }
            let polled = self.app.get(&self.path).send().await;
            if polled.status.as_u16() == 400 {
                return Said::Closed;
            }
            let text = polled.expect(200).text();
            self.inbox.extend(text.split('\u{1e}').map(str::to_owned));
        }
    }

    /// Waits for an event, which has to be the next thing said.
    #[track_caller]
    pub fn event(&mut self, name: &'static str) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            match self.next().await {
                Said::Event(said, data) if said == name => data,
                other => panic!("not {name} but {other:?}, at {place}"),
            }
        }
    }

    /// Goes without a word.
    pub async fn leave(self) {
        self.send_raw("1").await;
    }
}

fn said(message: &str) -> Said {
    let (kind, rest) = message.split_at(1);
    if rest.starts_with('/') {
        return Said::Elsewhere(message.to_owned());
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, json) = rest.split_at(digits);
    let mut json: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {message}"));
    match kind {
        "0" => Said::Connected,
        "2" => Said::Event(json[0].as_str().expect("a name").to_owned(), json[1].take()),
        "3" => Said::Answer(number.parse().expect("a number"), json[0].take()),
        "4" => Said::Refused(json),
        _ => panic!("the server may not say {message}"),
    }
}
