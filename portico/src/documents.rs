//! Keeps the shown document up to date with those of the upstreams: asks for them, unites them with the
//! own one, publishes what came of it. Not for how they are asked for, which the caller brings.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surface::{Asked, Door, Published, Shelf, Source, Taken, Want};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::docs;

/// How long to wait when there is nothing to ask for.
const IDLE: Duration = Duration::from_secs(3_600);

/// Follows the documents on the shelf until it is dropped.
///
/// `own` is the document of the services here. `upstream` says how an upstream's document is shown under
/// the routes of now; `routes_changed` makes it be asked again. `fetch` sends a request; it is given up
/// when it takes longer than it may.
pub async fn follow<F>(
    mut shelf: Shelf,
    published: Arc<Published>,
    own: Value,
    routes_changed: Arc<Notify>,
    upstream: impl Fn(&str, Arc<Value>) -> Source + Send,
    fetch: impl Fn(Want) -> F + Send,
) where
    F: Future<Output = Asked> + Send + 'static,
{
    let door = Door::of(&own, vec![json!({ "bearer": [] })]);
    let own = Source::own("portico", own);
    loop {
        let mut asking = JoinSet::new();
        for want in shelf.due(Instant::now()) {
            let (name, limit, asked) = (want.upstream.clone(), want.timeout, fetch(want));
            asking.spawn(async move {
                let asked = tokio::time::timeout(limit, asked).await;
                (name, asked.unwrap_or_else(|_| Asked::Failed(format!("it took longer than {} ms", limit.as_millis()))))
            });
        }
        let mut new = false;
        while let Some(done) = asking.join_next().await {
            let Ok((name, asked)) = done else { continue };
            match shelf.take(&name, asked, Instant::now()) {
                Taken::New => new = true,
                Taken::Unchanged => {}
                Taken::Kept(why) => {
                    tracing::warn!(upstream = name, why, "the OpenAPI document of an upstream was not read")
                }
            }
        }
        if new {
            publish(&mut shelf, &published, &door, &own, &upstream);
        }
        let next = shelf.next().map_or(IDLE, |next| next.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = routes_changed.notified() => publish(&mut shelf, &published, &door, &own, &upstream),
        }
    }
}

/// Unites what there is and shows it; what cannot be united leaves the last one in its place.
fn publish(
    shelf: &mut Shelf,
    published: &Published,
    door: &Door,
    own: &Source,
    upstream: &impl Fn(&str, Arc<Value>) -> Source,
) {
    match shelf.unite(door, own, upstream) {
        Ok((united, refused)) => {
            for (upstream, error) in refused {
                tracing::warn!(upstream, why = %error, "the OpenAPI document of an upstream was refused");
            }
            for finding in &united.findings {
                tracing::info!(
                    upstream = finding.source,
                    at = finding.at,
                    what = finding.what,
                    "left out of the OpenAPI document"
                );
            }
            if published.set(docs::written(&united.document)) {
                tracing::info!(shown = ?united.shown, "the OpenAPI document changed");
            }
        }
        Err(error) => tracing::error!(why = %error, "the OpenAPI documents could not be united"),
    }
}

#[cfg(test)]
mod tests {
    use surface::{Route, ShelfConfig};

    use super::*;

    fn shown(published: &Published) -> Vec<String> {
        let document: Value = serde_json::from_str(&published.get().text).unwrap_or_default();
        document["paths"].as_object().into_iter().flat_map(|paths| paths.keys().cloned()).collect()
    }

    async fn eventually(published: &Published, expected: &[&str]) {
        let wait = async {
            while shown(published) != expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(10), wait).await;
        assert!(found.is_ok(), "{:?}, not {expected:?}", shown(published));
    }

    #[tokio::test]
    async fn what_upstreams_say_is_shown_under_the_routes_of_now() {
        let own =
            json!({ "openapi": "3.1.0", "info": { "title": "T", "version": "1" }, "paths": { "/own": { "get": {} } } });
        let far = json!({ "openapi": "3.0.0", "paths": { "/a": { "get": {} }, "/b": { "get": {} } } });
        let published = Arc::new(Published::new(docs::written(&own)));
        let names = ["good", "slow", "wrong"].map(|name| (name.to_owned(), "/openapi.json".to_owned()));
        let config = ShelfConfig { timeout_ms: 50, ..ShelfConfig::default() };
        let routes = Arc::new(std::sync::Mutex::new("/a"));
        let changed = Arc::new(Notify::new());
        let now = routes.clone();
        let upstream = move |name: &str, document: Arc<Value>| {
            let upstream = (*now.lock().expect("nobody panicked")).to_owned();
            let route = Route { path: format!("/{name}{upstream}"), upstream, ..Route::default() };
            Source::upstream(name, document, vec![route])
        };
        let fetch = move |want: Want| {
            let body = far.to_string().into_bytes();
            async move {
                match want.upstream.as_str() {
                    "good" => Asked::Answered { status: 200, etag: None, body },
                    "slow" => std::future::pending().await,
                    _ => Asked::Answered { status: 200, etag: None, body: b"<html>".to_vec() },
                }
            }
        };
        let shelf = Shelf::new(config, names, Instant::now());
        let following = tokio::spawn(follow(shelf, published.clone(), own, changed.clone(), upstream, fetch));
        eventually(&published, &["/good/a", "/own"]).await;
        *routes.lock().expect("nobody panicked") = "/b";
        changed.notify_one();
        eventually(&published, &["/good/b", "/own"]).await;
        following.abort();
    }
}
