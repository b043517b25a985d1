//! Calls to upstreams that no request asks for: documents, steps of sagas. They have a core of their own, so
//! that they never hold up a client. Not for requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use bytes::Bytes;
use http::response::Parts;
use http_body_util::{BodyExt as _, Limited};
use kernel::{Error, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use upstream::{Call, Client, Upstream};

/// What is asked, and where the answer goes.
type Asked = (Arc<Upstream>, Request, Duration, usize, oneshot::Sender<Result<(Parts, Bytes)>>);

/// Calls upstreams in the background. Cloning it is cheap; its core ends with the last one.
#[derive(Clone)]
pub struct BackgroundClient(mpsc::UnboundedSender<Asked>);

impl BackgroundClient {
    /// Starts the core.
    pub fn start() -> Result<Self> {
        let (ask, mut asked) = mpsc::unbounded_channel::<Asked>();
        let failed = |error| Error::internal("no core for calls in the background").source_error(error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let run = move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                let client = Client::new(1);
                while let Some((upstream, request, limit, most, tell)) = asked.recv().await {
                    let client = client.clone();
                    tokio::task::spawn_local(async move {
                        let answered = send(&client, &upstream, request, limit, most).await;
                        let _ = tell.send(answered);
                    });
                }
            });
        };
        std::thread::Builder::new().name("background".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self(ask))
    }

    /// Sends a request and reads its answer, up to so many bytes, within this time.
    pub async fn send(
        &self,
        upstream: &Arc<Upstream>,
        request: Request,
        limit: Duration,
        most: usize,
    ) -> Result<(Parts, Bytes)> {
        let (tell, told) = oneshot::channel();
        let stopped = || Error::unavailable("server.stopping", "the server is stopping");
        self.0.send((upstream.clone(), request, limit, most, tell)).map_err(|_| stopped())?;
        told.await.map_err(|_| stopped())?
    }
}

async fn send(
    client: &Client,
    upstream: &Arc<Upstream>,
    request: Request,
    limit: Duration,
    most: usize,
) -> Result<(Parts, Bytes)> {
    let call = Call { deadline_covers_body: true, ..Call::until(Instant::now() + limit) };
    let (parts, body) = client.send(upstream, request, &call).await?.into_parts();
    let read = Limited::new(body, most).collect().await;
    let long = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::unavailable("gateway.response_too_large", "the answer is cut off or too long").source_error(error)
    };
    Ok((parts, read.map_err(long)?.to_bytes()))
}
