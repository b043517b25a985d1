//! `GET /api/events/stream`: the event log as Server-Sent Events (decision 0017). Decides what is
//! followed, from where, and for how long; `following` does it. Not for sockets.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::{Actor, Answer, Ctx, Error, Kind, PermissionSet, Result, TenantId};
use serde::Deserialize;
use serde_json::json;
use store::Event;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use web::{Caller, Principal, Query, Standing};

use super::READ_TENANTS;
use super::following::{Following, Place, Scope};
use super::selection::{Audiences, Catalogue, Selection};
use crate::app::App;
use crate::operation::Operation;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How many streams of this process read the log at once: after a restart all come back together.
const READS: usize = 16;
/// How long a stream waits for its turn before the client is asked to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a stream lasts at least; a third of it comes on top by chance, so that not all come back at once.
const AGE: Duration = Duration::from_secs(25 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    types: Option<String>,
    subject: Option<String>,
    last_event_id: Option<String>,
    tenant: Option<String>,
}

/// A list of types, for the document.
struct Kinds;

impl utoipa::PartialSchema for Kinds {
    fn schema() -> RefOr<Schema> {
        let one = r"\s*([*]|[a-z0-9._]+([.][*])?)\s*";
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^({one}(,{one}){{0,49}})?$"))).into()
    }
}

pub(super) fn operation(catalogue: Arc<Catalogue>) -> Operation {
    let reads = Arc::new(Semaphore::new(READS));
    let handler = move |state: State<App>,
                        principal: Extension<Principal>,
                        standing: Extension<Standing>,
                        headers: HeaderMap,
                        caller: Caller,
                        query: Query<Asked>| {
        open((catalogue.clone(), reads.clone()), state, principal, standing, headers, caller, query)
    };
    Operation::get("/api/events/stream", "events_stream_events", handler)
        .permission("events.members.read")
        .live()
        .query::<Kinds>(
            "types",
            "Only these types, with commas between them; `inventory.item.*` takes all that begin so.",
        )
        .query::<String>("subject", "Only events about these ids, with commas between them.")
        .query::<String>("lastEventId", "Where to go on, where `Last-Event-ID` cannot be sent.")
        .query::<String>("tenant", "For whoever runs the platform: the tenant to follow instead, or `*` for all.")
        .describe(
            "Follow events",
            "Server-Sent Events: each event of the tenant that the caller may learn of, as CloudEvents 1.0 in JSON, \
             as it happens. It begins with `ready`. With `Last-Event-ID` it goes on exactly after that event; where \
             that cannot be, it says `reset` with the reason and goes on from now. It ends after about half an hour, \
             and when the credential ends or is revoked; the client comes back with its last id. Browsers open it \
             with a ticket (`POST /api/auth/tickets`) or with the cookie (`POST /api/auth/cookie`).",
        )
        .gives_other(200, "The stream", &["text/event-stream"])
        .problems(&[400, 403])
}

async fn open(
    (catalogue, reads): (Arc<Catalogue>, Arc<Semaphore>),
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
    Caller(mut ctx): Caller,
    Query(asked): Query<Asked>,
) -> web::Result<Response> {
    let audiences = Audiences::of(&ctx);
    let selection = Selection::read(catalogue, audiences, asked.types.as_deref(), asked.subject.as_deref())?;
    let place = place(&headers, asked.last_event_id.as_deref())?;
    let elsewhere = asked.tenant.as_deref().map(|text| elsewhere(&ctx, text)).transpose()?;
    let credential = Arc::new(principal);
    let Some(connection) = app.live.connections.open(credential, standing.since) else {
        if app.live.connections.is_closing() {
            return Ok(come_back());
        }
        return Err(Error::unauthenticated("request.unauthenticated", "send a valid bearer token").into());
    };
    let scope = match elsewhere {
        None => Scope::Tenant(Arc::new(ctx)),
        Some(elsewhere) => {
            match note(&app, &mut ctx, elsewhere).await {
                Err(error) if error.kind() == Kind::Unavailable => return Ok(come_back()),
                noted => noted?,
            }
            match elsewhere {
                Elsewhere::Tenant(tenant) => {
                    Scope::Tenant(Arc::new(store::system_context(tenant, PermissionSet::default())))
                }
                Elsewhere::Everywhere => Scope::All,
            }
        }
    };
    let lasts = AGE + AGE.mul_f64(by_chance() / 3.0);
    let left = Duration::from_micros(u64::try_from(standing.until.0.saturating_sub(app.now().0)).unwrap_or(0));
    // A time that cannot be counted to is as far as need be.
    let ends = Instant::now() + lasts.min(left);
    let following = Following {
        store: app.store,
        hub: app.live.hub,
        scope,
        selection,
        reads: reads.clone(),
        runtime: Handle::current(),
        connection,
        until: standing.until,
        ends,
    };
    let Ok(Ok(turn)) = timeout(PATIENCE, reads.acquire()).await else { return Ok(come_back()) };
    let reading = match following.from(place, pause()).await {
        Err(error) if error.kind() == Kind::Unavailable => {
            tracing::debug!(error = %error, "a stream does not begin: the log cannot be read");
            return Ok(come_back());
        }
        reading => Box::new(reading?),
    };
    drop(turn);
    let frames = stream::unfold(reading, |mut reading| async move {
        let frame = reading.next().await?;
        Some((Ok::<_, Infallible>(frame), reading))
    });
    Ok(event_stream(Body::from_stream(frames)))
}

/// Asks the client to come back, maybe elsewhere: any other status would end an EventSource for good.
fn come_back() -> Response {
    event_stream(Body::from(format!("retry: {}\n\n", pause().as_millis())))
}

fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        (REFERRER_POLICY, "no-referrer"),
        // Proxies that keep answers back until they are whole would keep this one for ever.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Somewhere else than the caller's own tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elsewhere {
    Tenant(TenantId),
    Everywhere,
}

/// Reads which tenant a superadmin wants to follow.
fn elsewhere(ctx: &Ctx, text: &str) -> Result<Elsewhere> {
    ctx.require(READ_TENANTS.name)?;
    if !matches!(ctx.actor(), Actor::Superadmin(_)) {
        let message = "only whoever runs the platform follows other tenants";
        return Err(Error::forbidden("request.forbidden", message));
    }
    let wrong =
        |_| Error::invalid("request.invalid_query", "the query is not valid").field("tenant", "must be an id, or *");
    if text == "*" { Ok(Elsewhere::Everywhere) } else { text.parse().map(Elsewhere::Tenant).map_err(wrong) }
}

/// Writes down, where the superadmin is, that other tenants are followed.
async fn note(app: &App, ctx: &mut Ctx, elsewhere: Elsewhere) -> Result<()> {
    let about = match elsewhere {
        Elsewhere::Tenant(tenant) => tenant.to_string(),
        Elsewhere::Everywhere => "*".to_owned(),
    };
    let mut writer = app.store.write(ctx).await?;
    writer.record(Event::about("audit.watch", about, json!({}))).await?;
    writer.commit(Answer::no_content()).await.map(|_| ())
}

/// Reads where a client wants to go on; the header, which a browser sends by itself, wins.
fn place(headers: &HeaderMap, query: Option<&str>) -> Result<Option<Place>> {
    let wrong = || Error::invalid("events.invalid_event_id", "send the id of an event of this stream, or none");
    let mut sent = headers.get_all(LAST_EVENT_ID).iter();
    let header = sent.next().map(|value| value.to_str().map_err(|_| wrong())).transpose()?;
    if sent.next().is_some() {
        return Err(wrong());
    }
    let text = header.filter(|text| !text.is_empty()).or(query.filter(|text| !text.is_empty()));
    text.map(|text| Place::parse(text).ok_or_else(wrong)).transpose()
}

/// Returns how long a client is to wait before it comes back: 2 to 5 seconds.
fn pause() -> Duration {
    Duration::from_millis(2_000 + (by_chance() * 3_000.0) as u64)
}

/// Returns a number from 0 to 1 by chance; the keys of hash maps come from the system's random source.
fn by_chance() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (LAST_EVENT_ID, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_header_wins_and_an_empty_one_is_like_none() {
        let read = |sent: &[&'static str], query| place(&headers(sent), query).map(|place| place.map(|at| at.position));
        assert_eq!(read(&[], None).expect("none"), None);
        assert_eq!(read(&[""], Some("")).expect("none"), None);
        assert_eq!(read(&["e.7"], Some("e.9")).expect("a place"), Some(7));
        assert_eq!(read(&[], Some("e.9")).expect("a place"), Some(9));
        for (sent, query) in [(&["7"][..], None), (&["e.7", "e.8"], None), (&["e.7"], None::<&str>)] {
            assert_eq!(read(sent, query).is_ok(), sent == ["e.7"], "{sent:?}");
        }
    }

    #[test]
    fn clients_come_back_after_two_to_five_seconds() {
        for _ in 0..1_000 {
            assert!((2_000..=5_000).contains(&pause().as_millis()));
        }
    }
}
