//! The CONNECT packet: who is it, which rooms, what was missed. Not for what a token means: that is
//! the identity service's.

use std::sync::{Arc, Mutex, PoisonError};

use engineioxide::DisconnectReason;
use kernel::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::packet;
use crate::replay::{self, LastPosition};
use crate::server::Server;
use crate::session::{EngineSocket, Session};

/// The token of the request that opened a socket, until it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderToken(Arc<Mutex<Option<String>>>);

impl HeaderToken {
    pub(crate) fn new(token: Option<String>) -> Self {
        Self(Arc::new(Mutex::new(token)))
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a client brings.
#[derive(Debug)]
struct Brought {
    token: String,
    last: Option<LastPosition>,
}

/// Lets a client in, or says why not.
pub(crate) async fn connect(server: Arc<Server>, socket: Arc<EngineSocket>, auth: String) {
    match admit(&server, &socket, &auth).await {
        Ok(Some((session, last))) => join(&server, &session, last).await,
        Ok(None) => {}
        Err(error) => {
            let again = socket.data.refuse();
            let _ = socket.emit(packet::refused("/", error.code(), error.message()));
            if !again {
                socket.close(DisconnectReason::TransportClose);
            }
        }
    }
}

/// Checks what the client brings; nothing means that it has gone meanwhile.
async fn admit(
    server: &Server,
    socket: &Arc<EngineSocket>,
    auth: &str,
) -> Result<Option<(Arc<Session>, Option<LastPosition>)>> {
    let header = socket.req_parts.extensions.get::<HeaderToken>().and_then(HeaderToken::take);
    let brought = read(auth, header)?;
    let since = server.app.live.connections.moment();
    let verified = server.app.live.authenticate.bearer(&brought.token).await.inspect_err(log)?;
    let connection = server.app.live.connections.open(verified.principal.clone(), since).ok_or_else(closing)?;
    let session = Arc::new(Session::new(socket.clone(), verified, connection));
    if !socket.data.open(session.clone()) {
        return Ok(None);
    }
    server.settled(socket.id);
    Ok(Some((session, brought.last)))
}

/// Puts the client into its rooms, tells it what it missed, and lets it follow.
async fn join(server: &Arc<Server>, session: &Arc<Session>, last: Option<LastPosition>) {
    session.emit(packet::connected(&session.sid().to_string()));
    let joined = server.rooms.join(session);
    let (watched, end) = (session.clone(), server.clone());
    let watcher = tokio::spawn(async move {
        watched.connection.closed().await;
        end.end(&watched);
    });
    session.watched_by(watcher.abort_handle());
    if session.ended() {
        // It went while it came in: whoever ended it did not find it in the rooms.
        server.rooms.leave(session);
        watcher.abort();
        return;
    }
    let told = replay::catch_up(server, session, last, joined).await;
    let after = told.unwrap_or(joined);
    let rooms: Vec<String> = session.rooms().iter().map(ToString::to_string).collect();
    let epoch = &**server.app.live.hub.epoch();
    let ready = json!({ "epoch": epoch, "position": after, "rooms": rooms, "until": session.until() });
    let well =
        told.is_some() && session.emit_when_roomy(packet::event("ready", &ready)).await && session.go_live(after).await;
    if !well {
        server.end(session);
    }
}

fn read(auth: &str, header: Option<String>) -> Result<Brought> {
    let wrong = || Error::invalid("live.invalid_handshake", "send {token} as the auth of the connection");
    let auth: Value = match auth {
        "" => Value::Null,
        text => serde_json::from_str(text).map_err(|_| wrong())?,
    };
    let token = match (&auth["token"], header) {
        (Value::String(token), _) => token.clone(),
        (Value::Null, Some(token)) => token,
        (Value::Null, None) => {
            return Err(Error::unauthenticated("request.unauthenticated", "send a valid token as auth.token"));
        }
        _ => return Err(wrong()),
    };
    // What browsers' libraries put in front.
    let token = token.strip_prefix("Bearer ").unwrap_or(&token).to_owned();
    let last = match &auth["lastPos"] {
        Value::Null => None,
        sent => Some(LastPosition::read(sent)),
    };
    Ok(Brought { token, last })
}

/// Returns the refusal of a credential that was revoked while it was checked, or by a process that stops.
pub(crate) fn closing() -> Error {
    Error::unavailable("live.closing", "the connection was closed while it opened; connect again")
}

/// Writes down what is a fault of ours; the client only learns that there was one.
pub(crate) fn log(error: &Error) {
    if error.kind() == Kind::Internal {
        tracing::error!(error = ?error, "a socket's token could not be checked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_wins_over_the_header() {
        let token =
            |auth: &str, header: Option<&str>| read(auth, header.map(str::to_owned)).map(|brought| brought.token);
        assert_eq!(token(r#"{"token":"a"}"#, Some("b")).expect("a token"), "a");
        assert_eq!(token(r#"{"token":"Bearer a"}"#, None).expect("a token"), "a");
        assert_eq!(token("", Some("b")).expect("a token"), "b");
        assert_eq!(token("{}", Some("b")).expect("a token"), "b");
        for (auth, code) in [
            ("", "request.unauthenticated"),
            ("{}", "request.unauthenticated"),
            ("null", "request.unauthenticated"),
            ("{", "live.invalid_handshake"),
            (r#"{"token":7}"#, "live.invalid_handshake"),
        ] {
            assert_eq!(token(auth, None).expect_err(auth).code(), code, "{auth}");
        }
        assert_eq!(token(r#"{"token":[]}"#, Some("b")).expect_err("a list").code(), "live.invalid_handshake");
    }
}
