//! Posts a batch to the collector: one connection a batch. The library that encodes the batch decides on retries.
//! Not for other requests.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use fetch::Client;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};

/// The longest answer that is read.
const ANSWER: usize = 1 << 20;

/// What posts.
#[derive(Debug)]
pub(crate) struct Post {
    client: Client,
    limit: Duration,
}

impl Post {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { client: Client::default(), limit }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        Ok(self.client.whole(request, self.limit, ANSWER).await?)
    }
}

impl HttpClient for Post {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}
