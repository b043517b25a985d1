//! An answer whose head is there and whose body comes. Not for what it says.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

/// An answer; its connection ends with it.
#[derive(Debug)]
pub struct Answer {
    head: response::Parts,
    body: Incoming,
    _driving: Driving,
}

/// The task of a connection, which nobody else ends.
#[derive(Debug)]
pub(crate) struct Driving(pub AbortHandle);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    pub(crate) fn new(response: Response<Incoming>, driving: Driving) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body, _driving: driving }
    }

    /// Returns its status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Returns its fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Reads it to its end, which must come within so many bytes.
    pub async fn whole(self, bytes: usize) -> Result<Response<Bytes>, String> {
        match Limited::new(self.body, bytes).collect().await {
            Ok(collected) => Ok(Response::from_parts(self.head, collected.to_bytes())),
            Err(error) => Err(format!("the answer is cut off or longer than {bytes} bytes: {error}")),
        }
    }

    /// Reads what comes next; nothing after the last.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| format!("the answer is cut off: {error}"))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
