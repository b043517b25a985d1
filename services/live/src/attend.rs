//! Looks after the sockets twice a second: those that do not say who they are, whose token runs
//! out, who read too slowly. One task for all, because a timer for each costs memory that idle
//! sockets should not need. Not for revocations, which close a session at once.

use std::sync::Weak;
use std::time::Duration;

use serde_json::json;

use crate::packet;
use crate::replay::resync;
use crate::server::Server;
use crate::session::Pace;

/// How often sockets are looked after.
const GLANCE: Duration = Duration::from_millis(500);
/// How long before its token runs out a client is told.
const NOTICE: Duration = Duration::from_secs(60);

/// Looks after the sockets until the server ends.
pub(crate) async fn attend(server: Weak<Server>) {
    loop {
        tokio::time::sleep(GLANCE).await;
        let Some(server) = server.upgrade() else { return };
        look(&server);
    }
}

fn look(server: &Server) {
    let now = server.app.now();
    server.close_silent(now);
    for session in server.rooms.sessions() {
        if session.expired(now) {
            server.end(&session);
            continue;
        }
        if session.warns(now.plus(NOTICE)) {
            session.emit(packet::event("auth:expiring", &json!({ "until": session.until() })));
        }
        let resync = |position| resync("lagging", server.app.live.hub.epoch(), position);
        if session.pace(resync) == Pace::Hopeless {
            server.end(&session);
        }
    }
}
