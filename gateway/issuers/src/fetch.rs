//! Fetches one small document: a limit on time and on bytes, redirects only within the host. Not for what the document
//! says.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fetch::{Client, within};
use http::header::{ACCEPT, CONTENT_ENCODING, LOCATION};
use http::{Request, StatusCode};

use crate::location::Location;

/// How often a redirect is followed.
const REDIRECTS: usize = 3;

/// What fetches.
pub(crate) struct Fetcher {
    client: Client,
    timeout: Duration,
}

impl Fetcher {
    /// Returns what fetches, trusting the authorities in a file besides the system's.
    pub(crate) fn new(authorities: &Path, timeout: Duration) -> Result<Self, String> {
        Ok(Self { client: Client::trusting(authorities)?, timeout })
    }

    /// Fetches a document of at most `limit` bytes, or says why not.
    pub(crate) async fn get(&self, from: &Location, limit: usize) -> Result<Bytes, String> {
        let fetching = async {
            let mut location = from.clone();
            for _ in 0..=REDIRECTS {
                match self.ask(&location, limit).await? {
                    Answer::Document(document) => return Ok(document),
                    Answer::Elsewhere(to) => location = location.redirected(&to)?,
                }
            }
            Err("it redirects too often".to_owned())
        };
        within(self.timeout, fetching).await
    }

    async fn ask(&self, location: &Location, limit: usize) -> Result<Answer, String> {
        let request = Request::get(location.uri()).header(ACCEPT, "application/json, application/jwk-set+json");
        let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
        let answer = self.client.ask(request, self.timeout).await?;
        let status = answer.status();
        if status.is_redirection() {
            let to = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            return to.map(|to| Answer::Elsewhere(to.to_owned())).ok_or_else(|| format!("it answers {status}"));
        }
        if status != StatusCode::OK {
            return Err(format!("it answers {status}"));
        }
        let encoding = answer.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err("the answer is compressed, which was not asked for".into());
        }
        Ok(Answer::Document(answer.whole(limit).await?.into_body()))
    }
}

enum Answer {
    Document(Bytes),
    Elsewhere(String),
}
