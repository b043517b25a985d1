//! What the installation shows of its upstreams: their OpenAPI documents beside its own, and how they are.
//! Not for uniting documents or judging health.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::body::Body;
use gateway::{BackgroundClient, Compiled, Lasting};
use http::Request;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use kernel::Result;
use serde_json::Value;
use surface::{Asked, Published, Shelf, ShelfConfig, Source, Want};
use tokio::sync::Notify;

use crate::documents;
use crate::health::{Found, Member};

/// Returns a member of the installation's health for each upstream of the file.
pub(crate) fn members(compiled: &Compiled, lasting: &Lasting) -> Vec<Member> {
    let member = |(name, _): (&str, &Arc<upstream::Upstream>)| {
        let (lasting, known) = (lasting.clone(), name.to_owned());
        Member::known(name, compiled.is_required(name), move || {
            let usable = lasting.upstream(&known).is_some_and(|upstream| upstream.is_usable(Instant::now()));
            if usable { Found::healthy(None) } else { Found::unhealthy("gateway.no_healthy_server") }
        })
    };
    compiled.upstreams().iter().map(member).collect()
}

/// Shows the documents of the upstreams beside the own one, and keeps them current.
pub(crate) async fn follow(
    compiled: Arc<ArcSwap<Compiled>>,
    lasting: Lasting,
    client: BackgroundClient,
    document: Arc<Published>,
    own: Value,
    changed: Arc<Notify>,
) {
    let shelf = Shelf::new(ShelfConfig::default(), compiled.load().documents().iter().cloned(), Instant::now());
    let upstream = |name: &str, found: Arc<Value>| Source::upstream(name, found, compiled.load().shown(name));
    let fetch = |want: Want| {
        let (lasting, client) = (lasting.clone(), client.clone());
        async move { fetch(&lasting, &client, want).await.unwrap_or_else(|error| Asked::Failed(error.to_string())) }
    };
    documents::follow(shelf, document, own, changed, upstream, fetch).await;
}

async fn fetch(lasting: &Lasting, client: &BackgroundClient, want: Want) -> Result<Asked> {
    let Some(upstream) = lasting.upstream(&want.upstream) else {
        return Ok(Asked::Failed("it is no upstream any more".to_owned()));
    };
    let mut request = Request::builder().uri(&want.path).header(ACCEPT, "application/json");
    if let Some(known) = &want.if_none_match {
        request = request.header(IF_NONE_MATCH, known);
    }
    let request = match request.body(Body::empty()) {
        Ok(request) => request,
        Err(error) => return Ok(Asked::Failed(error.to_string())),
    };
    let (parts, body) = client.send(&upstream, request, want.timeout, want.max_bytes + 1).await?;
    let etag = parts.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    Ok(Asked::Answered { status: parts.status.as_u16(), etag, body: body.to_vec() })
}
