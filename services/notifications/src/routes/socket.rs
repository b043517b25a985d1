//! The bell: a socket that hears of each new notification of the caller, and of what was read in
//! another tab, as the log tells it, so that any process can push and none is missed after a break.
//! Not for listing, and not for changing anything.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use kernel::{Ctx, Error, UserId};
use serde::Deserialize;
use service::{App, Operation};
use web::{Caller, Principal, Query, Standing};

use crate::routes::bell::{Bell, RESTART, SIGN_IN, SLOW};
use crate::routes::person;

/// The longest message that a client may send: a new token.
const LONGEST: usize = 6 << 10;
/// What is read at a time; clients hardly write, and every idle socket keeps it.
const READ_BUFFER: usize = 1 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<i64>,
    epoch: Option<String>,
}

pub(crate) fn operation() -> Operation {
    Operation::get("/api/notifications/ws", "notifications_open_socket", open)
        .live()
        .query::<i64>("after", "Sends what came after this position first; a message's `position`.")
        .query::<String>("epoch", "Which log the position is of: `epoch` of the message `ready`.")
        .describe(
            "Hear of notifications",
            "A WebSocket. The server sends `{type: \"ready\", unreadCount, position, epoch, reset}`, then \
             `{type: \"notification\", notification, unreadCount, position}` for what is new or has grown, and \
             `{type: \"read\", id, upTo, unreadCount, position}` for what was read, here or in another tab. With \
             `reset` the position is too old: load the list anew. The client may send `{type: \"renew\", token}` with \
             a fresh access token, which is answered with `{type: \"renewed\", until}`. It is closed with 4401 when the \
             credential ends or is revoked, and with 1012 when the process stops.",
        )
        .gives_other(101, "It is open", &[])
        .problems(&[400, 426])
}

async fn open(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Extension(standing): Extension<Standing>,
    Caller(ctx): Caller,
    Query(asked): Query<Asked>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> web::Result<Response> {
    let user = person(&ctx)?;
    let upgrade = upgrade.map_err(|why| {
        let message = format!("this is a WebSocket: {}", why.body_text());
        Error::invalid("request.upgrade_required", message).status_code(426)
    })?;
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(0).max_write_buffer_size(64 << 10);
    let upgrade = upgrade.max_message_size(LONGEST).max_frame_size(LONGEST);
    // Refused only after it is open: a browser's script sees the code of a close, not a status.
    Ok(upgrade.on_upgrade(move |socket| attend(app, Arc::new(principal), standing, ctx, user, asked, socket)))
}

async fn attend(
    app: App,
    principal: Arc<Principal>,
    standing: Standing,
    ctx: Ctx,
    user: UserId,
    asked: Asked,
    mut socket: WebSocket,
) {
    let Some(connection) = app.live.connections.open(principal.clone(), standing.since) else {
        let code = if app.live.connections.is_closing() { RESTART } else { SIGN_IN };
        return close(&mut socket, code).await;
    };
    // Joined before the present state is read, so that nothing falls between.
    let feed = app.live.hub.join(Some(ctx.tenant()));
    let text = user.to_string();
    let (position, until) = (feed.from, standing.until);
    let mut bell = Bell { app, principal, connection, ctx, user, text, feed, socket, position, until, unheard: 0 };
    let code = match Box::pin(bell.greet(asked.after, asked.epoch)).await {
        Ok(()) => bell.ring().await,
        Err(code) => code,
    };
    if let Some(code) = code {
        close(&mut bell.socket, code).await;
    }
}

async fn close(socket: &mut WebSocket, code: u16) {
    let reason = match code {
        SIGN_IN => "sign in again",
        RESTART => "come back",
        _ => "a fault of the server",
    };
    let frame = CloseFrame { code, reason: reason.into() };
    let _ = tokio::time::timeout(SLOW, socket.send(Message::Close(Some(frame)))).await;
}
