//! Event streams over real sockets: what one client writes another learns of, a cut line is resumed,
//! and a stopping server ends its streams so that clients come back. What a stream carries, and to
//! whom, is tested in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Installation, Server};

const STREAM: &str = "/api/events/stream?types=inventory.item.created";
/// How long something may take that has to come.
const LIMIT: Duration = Duration::from_secs(20);

/// An open stream, with the connection that carries it.
pub struct Stream {
    body: Incoming,
    read: BytesMut,
    _connection: Client,
}

impl Stream {
    pub async fn open(server: &Server, token: Option<&Arc<str>>, path: &str, last: Option<&str>) -> Self {
        let mut connection = server.connect(token).await;
        let mut request = connection.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = connection.begin(request, None).await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), read: BytesMut::new(), _connection: connection }
    }

    /// Returns the id and the data of the next event; nothing when the stream has ended as it should.
    pub async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let block = self.read.split_to(end + 2).freeze();
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
                continue;
            }
            let frame = tokio::time::timeout(LIMIT, self.body.frame()).await.expect("a word, or the end");
            let Some(frame) = frame else {
                assert!(self.read.is_empty(), "the stream ends between two blocks");
                return None;
            };
            let data = frame.expect("a stream that is not broken off").into_data().unwrap_or_default();
            self.read.extend_from_slice(&data);
        }
    }
}

fn parse(block: &Bytes) -> Option<(String, Value)> {
    let text = std::str::from_utf8(block).expect("UTF-8");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ")?;
    Some((field("id: ").expect("an id").to_owned(), serde_json::from_str(data).expect("JSON")))
}

async fn create(client: &mut Client, sku: &str) {
    client.post("/api/inventory", &json!({ "sku": sku, "name": sku })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_followed_cut_resumed_and_ended() {
    let installation = Installation::new().set("log.filter", "info");
    let mut server = installation.start().await;
    let token = server.sign_in().await;
    let mut client = server.connect(Some(&token)).await;
    let mut stream = Stream::open(&server, Some(&token), STREAM, None).await;
    let (start, _) = stream.event().await.expect("a beginning");
    create(&mut client, "a").await;
    let (first, event) = stream.event().await.expect("an event");
    assert_eq!(event["data"]["after"]["sku"].as_str().or(event["data"]["sku"].as_str()), Some("a"), "{event}");
    drop(stream);

    for sku in ["b", "c"] {
        create(&mut client, sku).await;
    }
    let mut resumed = Stream::open(&server, Some(&token), STREAM, Some(&first)).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(resumed.event().await.expect("an event").0);
    }
    assert_eq!(ids[0], first, "ready");
    assert!(ids[1] != ids[2] && !ids[1..].contains(&start));

    // A ticket opens one too, and leaves no trace in the log.
    let made = client.post("/api/auth/tickets", &json!({ "path": "/api/events/stream" })).await.expect(201).json();
    let ticket = made["ticket"].as_str().expect("a ticket");
    let mut by_ticket = Stream::open(&server, None, &format!("{STREAM}&ticket={ticket}"), None).await;
    by_ticket.event().await.expect("a beginning");
    let mut stranger = server.connect(None).await;
    stranger.get(&format!("{STREAM}&ticket={ticket}")).await.expect(401);

    // Both are idle when the server is told to stop; neither keeps it.
    server.terminate();
    assert_eq!((resumed.event().await, by_ticket.event().await), (None, None));
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.said());
    assert!(!server.said().contains(ticket), "the ticket is in the log");
    assert!(server.said().contains("/api/events/stream"), "the request is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_stream() {
    let installation = Installation::new();
    let server = installation.start().await;
    let access: Arc<str> = server.session().await["accessToken"].as_str().expect("a token").into();
    let mut client = server.connect(Some(&access)).await;
    let mut stream = Stream::open(&server, Some(&access), STREAM, None).await;
    stream.event().await.expect("a beginning");
    let request = client.request(Method::POST, "/api/auth/logout");
    client.send(request, None).await.expect("an answer").expect(204);
    assert_eq!(stream.event().await, None);
    server.stop().await;
}
