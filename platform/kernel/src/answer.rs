//! What a finished request says: status, body, version. Plain data, so the Writer can store it
//! with an idempotency key in the transaction of the change. Not for streams.

use serde::Serialize;

use crate::{Error, Result};

/// The answer of a handler: an HTTP status and a JSON body that is already written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body; empty with 204.
    pub body: String,
    /// The version of the resource in the body, sent as a strong ETag.
    pub version: Option<i64>,
    /// Where the created resource is.
    pub location: Option<String>,
    /// Whether this is a stored answer given again.
    pub replayed: bool,
}

impl Answer {
    fn with(status: u16, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_string(body)
            .map_err(|error| Error::internal("an answer could not be written as JSON").source_error(error))?;
        Ok(Self { status, body, version: None, location: None, replayed: false })
    }

    /// Returns 200 with this body.
    pub fn ok(body: &impl Serialize) -> Result<Self> {
        Self::with(200, body)
    }

    /// Returns 201 with this body.
    pub fn created(location: String, body: &impl Serialize) -> Result<Self> {
        Ok(Self { location: Some(location), ..Self::with(201, body)? })
    }

    /// Returns 204.
    pub fn no_content() -> Self {
        Self { status: 204, body: String::new(), version: None, location: None, replayed: false }
    }

    /// Adds the version of the resource that the body shows.
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }
}
