//! An answer that is read as it comes, such as an event stream. Not for answers that end by
//! themselves: those are sent whole.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// After how long without a word a stream counts as quiet, where somebody only wants to look at it.
const QUIET: Duration = Duration::from_millis(400);
/// How long something may take that has to come before the test has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// An answer whose body is still coming.
pub struct TestStream {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Body,
    read: Vec<u8>,
}

/// A block of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The `id` field.
    pub id: Option<String>,
    /// The `event` field.
    pub event: Option<String>,
    /// The `data` field.
    pub data: Option<String>,
    /// The `retry` field.
    pub retry: Option<u64>,
}

impl Block {
    fn parse(text: &str) -> Self {
        let mut block = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "id" => block.id = Some(value),
                "event" => block.event = Some(value),
                "data" => block.data = Some(block.data.take().map_or(value.clone(), |before| before + "\n" + &value)),
                "retry" => block.retry = value.parse().ok(),
                "" => {}
                other => panic!("there is no field {other} in an event stream"),
            }
        }
        block
    }

    /// Returns the data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().unwrap_or_default()).expect("data that is JSON")
    }

    /// Returns the `event` field, or nothing.
    pub fn kind(&self) -> &str {
        self.event.as_deref().unwrap_or_default()
    }
}

impl TestStream {
    pub(crate) fn new(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body, read: Vec::new() }
    }

    /// Returns a header's text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Insists on a status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status);
        self
    }

    pub(crate) async fn whole(self, limit: usize) -> Vec<u8> {
        axum::body::to_bytes(self.body, limit).await.expect("a whole answer").to_vec()
    }

    pub(crate) async fn until_quiet(mut self) -> Vec<u8> {
        while let Ok(true) = tokio::time::timeout(QUIET, self.pull()).await {}
        self.read
    }

    /// Reads on; says whether there was more.
    async fn pull(&mut self) -> bool {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.body).poll_frame(cx)).await;
        let Some(frame) = frame else { return false };
        if let Ok(data) = frame.expect("a stream that is not broken off").into_data() {
            self.read.extend_from_slice(&data);
        }
        true
    }

    /// Returns the next block; nothing when the stream has ended.
    pub async fn block(&mut self) -> Option<Block> {
        loop {
            let end = self.read.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(Block::parse(std::str::from_utf8(&block).expect("UTF-8")));
            }
            if !tokio::time::timeout(LIMIT, self.pull()).await.expect("a stream that says something, or ends") {
                assert!(self.read.is_empty(), "a stream ends between two blocks");
                return None;
            }
        }
    }

    /// Returns the next block that a client would take for an event; nothing when the stream has ended.
    pub async fn event(&mut self) -> Option<Block> {
        loop {
            let block = self.block().await?;
            if block.data.is_some() {
                return Some(block);
            }
        }
    }
}
