//! Asks a server that tells where others are, in JSON; an answer may come line by line. Not for what is asked.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fetch::Answer;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::Value;

use crate::address::Address;

/// The longest body of an answer, and the longest line of one that comes in lines.
const BODY: usize = 16 << 20;

/// What asks.
pub(crate) struct Client(fetch::Client);

/// One question.
pub(crate) struct Question<'a> {
    pub method: Method,
    pub target: &'a str,
    /// A name and its value, such as a token.
    pub header: Option<(HeaderName, HeaderValue)>,
    pub body: Option<Value>,
}

impl<'a> Question<'a> {
    pub(crate) fn post(target: &'a str, body: Value) -> Self {
        Self { method: Method::POST, target, header: None, body: Some(body) }
    }
}

impl Client {
    /// Returns what asks, trusting the authorities in a file besides the system's.
    pub(crate) fn new(authorities: &Path) -> Result<Self, String> {
        fetch::Client::trusting(authorities).map(Self)
    }

    /// Asks, and returns once the head of the answer is there.
    pub(crate) async fn ask(&self, at: &Address, question: Question<'_>, limit: Duration) -> Result<Answer, String> {
        self.0.ask(request(at, question)?, limit).await
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn whole(
        &self,
        at: &Address,
        question: Question<'_>,
        limit: Duration,
    ) -> Result<Response<Bytes>, String> {
        self.0.whole(request(at, question)?, limit, BODY).await
    }

    /// Asks for JSON, whole; any status but 200 is a failure.
    pub(crate) async fn json(&self, at: &Address, question: Question<'_>, limit: Duration) -> Result<Value, String> {
        let target = question.target.to_owned();
        let answer = self.whole(at, question, limit).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{target} answers {}: {}", answer.status(), shown(answer.body())));
        }
        serde_json::from_slice(answer.body()).map_err(|error| format!("{target} answers what is no JSON: {error}"))
    }
}

/// The beginning of a body, for the log.
pub(crate) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn request(at: &Address, question: Question<'_>) -> Result<Request<Bytes>, String> {
    let mut request =
        Request::builder().method(question.method).uri(at.target(question.target)).header(ACCEPT, "application/json");
    if let Some((name, value)) = question.header {
        request = request.header(name, value);
    }
    let body = match question.body {
        Some(value) => {
            request = request.header(CONTENT_TYPE, "application/json");
            Bytes::from(value.to_string())
        }
        None => Bytes::new(),
    };
    request.body(body).map_err(|error| error.to_string())
}

/// An answer that comes in lines.
pub(crate) struct Lines {
    answer: Answer,
    pending: BytesMut,
    /// How much of what is pending has no end of a line.
    searched: usize,
}

impl Lines {
    pub(crate) fn of(answer: Answer) -> Self {
        Self { answer, pending: BytesMut::new(), searched: 0 }
    }

    /// Returns the next line without its end; nothing after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(place) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.pending.split_to(self.searched + place + 1);
                line.truncate(line.len() - 1);
                self.searched = 0;
                return Ok(Some(line.freeze()));
            }
            self.searched = self.pending.len();
            if self.pending.len() > BODY {
                return Err("a line of the answer is too long".into());
            }
            match self.answer.chunk().await? {
                Some(data) => self.pending.extend_from_slice(&data),
                None if self.pending.is_empty() => return Ok(None),
                None => {
                    self.searched = 0;
                    return Ok(Some(self.pending.split().freeze()));
                }
            }
        }
    }
}
