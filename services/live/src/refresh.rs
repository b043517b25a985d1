//! A new token for a connection that is open: same person, same tenant, rooms as the new token has
//! them. Not for getting one: that is the identity service's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kernel::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::connect::{closing, log};
use crate::packet;
use crate::server::Server;
use crate::session::Session;

/// The event by which a client brings a new token.
const NAME: &str = "auth:refresh";

#[derive(Deserialize)]
struct Refresh {
    token: String,
}

/// Returns the token that a client brings, if that is what it says; an empty one when it says it wrongly.
pub(crate) fn wanted(arguments: &str) -> Option<String> {
    let mut arguments: Vec<Value> = serde_json::from_str(arguments).ok()?;
    if arguments.first()?.as_str()? != NAME {
        return None;
    }
    let brought = arguments.get_mut(1).map(Value::take).unwrap_or_default();
    Some(serde_json::from_value(brought).map(|Refresh { token }| token).unwrap_or_default())
}

/// Checks the token, goes on under it, and answers how it went.
pub(crate) async fn refresh(server: Arc<Server>, session: Arc<Session>, token: String, ack: Option<u64>) {
    if session.refreshing.swap(true, Ordering::SeqCst) {
        return;
    }
    let answer = match renew(&server, &session, &token).await {
        Ok(()) => {
            let rooms: Vec<String> = session.rooms().iter().map(ToString::to_string).collect();
            json!({ "ok": true, "until": session.until(), "rooms": rooms })
        }
        Err(error) => json!({ "ok": false, "code": error.code(), "message": error.message() }),
    };
    session.refreshing.store(false, Ordering::SeqCst);
    if let Some(ack) = ack {
        session.emit(packet::answer(ack, &answer));
    }
}

async fn renew(server: &Server, session: &Arc<Session>, token: &str) -> Result<()> {
    let since = server.app.live.connections.moment();
    let verified = server.app.live.authenticate.bearer(token).await.inspect_err(log)?;
    let held = session.principal();
    if verified.principal.tenant != held.tenant || verified.principal.actor != held.actor {
        let message = "the token is somebody else's, or for another tenant: open another connection";
        return Err(Error::forbidden("live.other_caller", message));
    }
    if !session.connection.renew(verified.principal.clone(), since) {
        server.end(session);
        return Err(closing());
    }
    server.rooms.reassign(session, |session| session.become_caller(verified));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refresh_is_one() {
        assert_eq!(wanted(r#"["auth:refresh",{"token":"a"}]"#).as_deref(), Some("a"));
        for empty in [r#"["auth:refresh"]"#, r#"["auth:refresh",{"token":7}]"#, r#"["auth:refresh","a"]"#] {
            assert_eq!(wanted(empty).as_deref(), Some(""), "{empty}");
        }
        for other in [r#"["join","t:x:role:admin"]"#, "[]", "[7]", "[", r#"{"0":"auth:refresh"}"#] {
            assert_eq!(wanted(other), None, "{other}");
        }
    }
}
