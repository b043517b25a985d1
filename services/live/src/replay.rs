//! What a client missed while it was away, read from the log in its tenant. Not for what comes from
//! here on, which its session holds back meanwhile.

use std::sync::Arc;

use engineioxide::Str;
use kernel::{Ctx, CtxParts, RequestId, Result};
use serde_json::{Value, json};
use store::EventFilter;

use crate::packet;
use crate::server::Server;
use crate::session::Session;

/// How many events a client may have missed.
const MISSED: usize = 1_000;
/// How many events are read at a time.
const PAGE: u64 = 250;
/// How many events are looked at for one client: others' notifications are among them.
const LOOKED_AT: usize = 4 * MISSED;

/// The last that a client has seen, as it says; not all that is sent can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastPosition(Option<(String, i64)>);

/// What was missed, or why that cannot be told.
enum Missed {
    Events(Vec<Str>, i64),
    Unknown(&'static str),
}

impl LastPosition {
    /// Reads `"{epoch}.{position}"` or `{epoch, position}`.
    pub(crate) fn read(sent: &Value) -> Self {
        let read = match sent {
            Value::String(text) => text.rsplit_once('.').map(|(epoch, position)| (epoch, position.parse().ok())),
            Value::Object(_) => sent["epoch"].as_str().map(|epoch| (epoch, sent["position"].as_i64())),
            _ => None,
        };
        let place = read.and_then(|(epoch, position)| Some((epoch.to_owned(), position?)));
        Self(place.filter(|(_, position)| *position >= 0))
    }
}

/// Tells a client what it missed, or that it has to read everything again; gives the position up to
/// which it has been told, or nothing when it has gone or cannot be told.
pub(crate) async fn catch_up(
    server: &Server,
    session: &Arc<Session>,
    last: Option<LastPosition>,
    joined: i64,
) -> Option<i64> {
    let Some(last) = last else { return Some(joined) };
    let missed = match missed(server, session, last, joined).await {
        Ok(missed) => missed,
        Err(error) => {
            tracing::warn!(error = %error, "a socket could not be told what it missed");
            return None;
        }
    };
    match missed {
        Missed::Events(frames, told) => {
            for frame in frames {
                if !session.emit_when_roomy(frame).await {
                    return None;
                }
            }
            Some(told)
        }
        Missed::Unknown(reason) => {
            let text = resync(reason, server.app.live.hub.epoch(), joined);
            session.emit_when_roomy(text).await.then_some(joined)
        }
    }
}

/// Returns the event that tells a client to read everything again; what comes after the position follows.
pub(crate) fn resync(reason: &str, epoch: &str, position: i64) -> String {
    packet::event("resync", &json!({ "reason": reason, "epoch": epoch, "position": position }))
}

async fn missed(server: &Server, session: &Session, last: LastPosition, joined: i64) -> Result<Missed> {
    // Many come back at once after a restart: they take turns, or nothing else would be read.
    let _turn = server.replays.acquire().await;
    let Some((epoch, seen)) = last.0 else { return Ok(Missed::Unknown("invalid")) };
    let state = store::log_state(&server.app.store).await?;
    if *epoch != **server.app.live.hub.epoch() {
        return Ok(Missed::Unknown("epoch"));
    }
    if seen < state.horizon {
        return Ok(Missed::Unknown("expired"));
    }
    // Another process may be a moment ahead of this one, but not of the log.
    if seen > state.last.max(joined) {
        return Ok(Missed::Unknown("ahead"));
    }
    let ctx = context(session);
    let filter = EventFilter { kinds: server.wires.kinds(), subject: None };
    let (rooms, mut frames, mut told, mut looked_at) = (session.rooms(), Vec::new(), seen, 0);
    loop {
        let reader = server.app.store.read(&ctx).await?;
        let rows = reader.events_after(told, &filter, PAGE).await?;
        reader.close().await?;
        for row in &rows {
            told = row.position.unwrap_or(told);
            let messages = server.wires.messages(row, &epoch);
            let own = messages.into_iter().find(|(room, _)| rooms.contains(room));
            frames.extend(own.map(|(_, text)| Str::from(text)));
        }
        looked_at += rows.len();
        if frames.len() > MISSED || looked_at > LOOKED_AT {
            return Ok(Missed::Unknown("too_many"));
        }
        if (rows.len() as u64) < PAGE {
            // What the rooms had been told before the client joined was in the log by then.
            return Ok(Missed::Events(frames, told.max(joined)));
        }
    }
}

/// Returns the context of a client that reads its tenant's log: its credential was checked when it
/// connected, and its rooms say what it may see.
fn context(session: &Session) -> Ctx {
    let (principal, id) = (session.principal(), RequestId::create());
    Ctx::new(CtxParts {
        tenant: session.tenant,
        actor: principal.actor.clone(),
        permissions: principal.permissions.clone(),
        request_id: id.clone(),
        correlation_id: id,
        idempotency: None,
        reason: principal.elevated.as_ref().map(|reason| reason.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_position_is_text_or_an_object() {
        let place = |epoch: &str, position| LastPosition(Some((epoch.to_owned(), position)));
        assert_eq!(LastPosition::read(&json!("a-b.7")), place("a-b", 7));
        assert_eq!(LastPosition::read(&json!({ "epoch": "a", "position": 0 })), place("a", 0));
        for wrong in [json!(7), json!(""), json!("a.-1"), json!("a.b"), json!({ "epoch": "a" }), json!([])] {
            assert_eq!(LastPosition::read(&wrong), LastPosition(None), "{wrong}");
        }
    }
}
