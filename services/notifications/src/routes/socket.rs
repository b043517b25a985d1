//! The bell: a socket that hears of each new notification of the caller, and of what was read in
//! another tab, as the log tells it, so that any process can push and none is missed after a break.
//! Not for listing, and not for changing anything.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use events::{Feed, Published};
use kernel::{Ctx, Error, Result, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use service::{App, Operation};
use store::{EventFilter, EventRow, Reader};
use tokio::time::Instant;
use web::{Caller, Connection, Principal, Query, Standing};

use crate::raise::RAISED;
use crate::routes::list::{Notification, view};
use crate::routes::person;
use crate::routes::read::READ;
use crate::tables::notification::{self, NotificationId};
use crate::tables::recipient;

/// How often a sign of life is sent; who answers none for two of them is gone.
const PING: Duration = Duration::from_secs(25);
/// How long a client may take to accept a message.
const SLOW: Duration = Duration::from_secs(10);
/// The longest message that a client may send: a new token.
const LONGEST: usize = 6 << 10;
/// What is read at a time; clients hardly write, and every idle socket keeps it.
const READ_BUFFER: usize = 1 << 10;
/// How many events are looked through for who comes back, page by page; more means: load anew.
const PAGE: u64 = 200;
const PAGES: u32 = 25;

/// Says to sign in again: the credential ended, was revoked or is somebody else's.
const SIGN_IN: u16 = 4401;
/// Says to come back: the process is stopping.
const RESTART: u16 = 1012;
/// Says that the server could not go on.
const FAULT: u16 = 1011;

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

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Said {
    Ready { unread_count: i64, position: i64, epoch: Arc<str>, reset: bool },
    Notification { notification: Box<Notification>, unread_count: i64, position: i64 },
    Read { id: Option<NotificationId>, up_to: Option<i64>, unread_count: i64, position: i64 },
    Renewed { until: Timestamp },
}

/// What a client may say.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Heard {
    Renew {
        token: String,
    },
    #[serde(other)]
    Other,
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
    let code = match Box::pin(bell.greet(asked)).await {
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

/// Why a socket ends: the code to close with, or nothing where the client is gone.
type End = Option<u16>;

/// One open socket. What it does rarely is boxed, so that an idle one stays small.
struct Bell {
    app: App,
    principal: Arc<Principal>,
    connection: Connection,
    ctx: Ctx,
    user: UserId,
    /// The person's id as events write it.
    text: String,
    feed: Feed,
    socket: WebSocket,
    /// Everything up to here was sent or is not the person's.
    position: i64,
    until: Timestamp,
    /// How many pings were sent since the client was last heard.
    unheard: u8,
}

/// What woke a socket.
enum Woken {
    Revoked,
    Event(Arc<Published>),
    Behind,
    Stopping,
    Message(Message),
    Gone,
    Time,
}

impl Bell {
    async fn ring(&mut self) -> End {
        let mut tick = Box::pin(tokio::time::sleep_until(self.next_tick()));
        loop {
            let woken = tokio::select! {
                biased;
                () = self.connection.closed() => Woken::Revoked,
                message = self.socket.recv() => match message {
                    Some(Ok(message)) => Woken::Message(message),
                    _ => Woken::Gone,
                },
                event = self.feed.next() => match event {
                    Ok(Some(event)) => Woken::Event(event),
                    Ok(None) => Woken::Stopping,
                    Err(_) => Woken::Behind,
                },
                () = &mut tick => Woken::Time,
            };
            match woken {
                // Most of what a tenant does is nobody's bell: no work, no box.
                Woken::Event(event) if !self.concerns(&event.event) => self.position = self.position.max(event.position),
                Woken::Time => {
                    if let Err(end) = self.on_time().await {
                        return end;
                    }
                    tick.as_mut().reset(self.next_tick());
                }
                Woken::Revoked => {
                    return Some(if self.app.live.connections.is_closing() { RESTART } else { SIGN_IN });
                }
                Woken::Stopping => return Some(RESTART),
                Woken::Gone => return None,
                other => {
                    if let Err(end) = Box::pin(self.act(other)).await {
                        return end;
                    }
                    // A new token moves the end.
                    tick.as_mut().reset(self.next_tick());
                }
            }
        }
    }

    fn next_tick(&self) -> Instant {
        let left = u64::try_from(self.until.0.saturating_sub(self.app.now().0)).unwrap_or(0);
        Instant::now() + PING.min(Duration::from_micros(left))
    }

    async fn on_time(&mut self) -> Result<(), End> {
        if self.app.now() >= self.until {
            return Err(Some(SIGN_IN));
        }
        if self.unheard >= 2 {
            return Err(None);
        }
        self.unheard += 1;
        self.send(Message::Ping(Default::default())).await
    }

    async fn act(&mut self, woken: Woken) -> Result<(), End> {
        match woken {
            Woken::Event(event) => {
                if event.position > self.position {
                    self.tell(&event.event).await?;
                    self.position = event.position;
                }
                Ok(())
            }
            Woken::Behind => {
                self.feed = self.app.live.hub.join(Some(self.ctx.tenant()));
                let to = self.feed.from;
                if !self.catch_up(to).await? {
                    self.ready(true).await?;
                }
                Ok(())
            }
            Woken::Message(message) => {
                self.unheard = 0;
                match message {
                    Message::Text(text) => self.hear(text.as_str()).await,
                    Message::Close(_) => Err(None),
                    _ => Ok(()),
                }
            }
            Woken::Revoked | Woken::Stopping | Woken::Gone | Woken::Time => Ok(()),
        }
    }

    /// Says where things stand, after what was missed.
    async fn greet(&mut self, asked: Asked) -> Result<(), End> {
        let (to, epoch) = (self.feed.from, self.app.live.hub.epoch().clone());
        let same_log = asked.epoch.is_none_or(|asked| *asked == *epoch);
        let reset = match asked.after {
            Some(after) if same_log && (0..=to).contains(&after) => {
                self.position = after;
                !self.catch_up(to).await?
            }
            Some(_) => true,
            None => false,
        };
        self.ready(reset).await
    }

    async fn ready(&mut self, reset: bool) -> Result<(), End> {
        let reader = self.app.store.read(&self.ctx).await.map_err(fault)?;
        let unread_count = unread(&reader, self.user).await.map_err(fault)?.map_or(0, |person| person.unread);
        reader.close().await.map_err(fault)?;
        let epoch = self.app.live.hub.epoch().clone();
        self.say(&Said::Ready { unread_count, position: self.position, epoch, reset }).await
    }

    /// Sends what came after the position, up to another; says whether that was all of it.
    async fn catch_up(&mut self, to: i64) -> Result<bool, End> {
        let horizon = store::log_state(&self.app.store).await.map_err(fault)?.horizon;
        let whole = self.position >= horizon;
        let filter = EventFilter { kinds: vec![RAISED, READ], ..EventFilter::default() };
        for _ in 0..PAGES {
            let reader = self.app.store.read(&self.ctx).await.map_err(fault)?;
            let rows = reader.events_after(self.position, &filter, PAGE).await.map_err(fault)?;
            reader.close().await.map_err(fault)?;
            let more = rows.len() as u64 == PAGE;
            for row in rows {
                if self.concerns(&row) {
                    self.tell(&row).await?;
                }
                self.position = row.position.unwrap_or(self.position).max(self.position);
            }
            if !more {
                self.position = self.position.max(to);
                return Ok(whole);
            }
        }
        self.position = self.position.max(to);
        Ok(false)
    }

    fn concerns(&self, event: &EventRow) -> bool {
        (event.kind == RAISED || event.kind == READ) && event.data.contains(&self.text)
    }

    /// Sends what an event tells the person.
    async fn tell(&mut self, event: &EventRow) -> Result<(), End> {
        let Ok(data) = serde_json::from_str::<serde_json::Value>(&event.data) else { return Ok(()) };
        if data["user"] != self.text.as_str() {
            return Ok(());
        }
        let (position, id) = (event.position.unwrap_or_default(), event.subject.parse::<NotificationId>().ok());
        let reader = self.app.store.read(&self.ctx).await.map_err(fault)?;
        let person = unread(&reader, self.user).await.map_err(fault)?;
        let row = match id.filter(|_| event.kind == RAISED) {
            Some(id) => own(&reader, self.user, id).await.map_err(fault)?,
            None => None,
        };
        reader.close().await.map_err(fault)?;
        let Some(person) = person else { return Ok(()) };
        let unread_count = person.unread;
        let said = match (event.kind == READ, row) {
            (true, _) => Said::Read { id, up_to: data["upTo"].as_i64(), unread_count, position },
            (false, Some(row)) => {
                Said::Notification { notification: Box::new(view(row, &person)), unread_count, position }
            }
            (false, None) => return Ok(()),
        };
        self.say(&said).await
    }

    /// Takes a fresh token of the same person in the same tenant; any other closes the socket.
    async fn hear(&mut self, text: &str) -> Result<(), End> {
        let Ok(Heard::Renew { token }) = serde_json::from_str(text) else { return Ok(()) };
        let since = self.app.live.connections.moment();
        let verified = self.app.live.authenticate.bearer(&token).await.map_err(|error| match error.kind() {
            kernel::Kind::Unauthenticated | kernel::Kind::Forbidden => Some(SIGN_IN),
            _ => fault(error),
        })?;
        let same = verified.principal.tenant == self.principal.tenant && verified.principal.actor == self.principal.actor;
        if !same || !self.connection.renew(verified.principal.clone(), since) {
            return Err(Some(SIGN_IN));
        }
        (self.principal, self.until) = (verified.principal, verified.until);
        self.say(&Said::Renewed { until: self.until }).await
    }

    async fn say(&mut self, said: &Said) -> Result<(), End> {
        let text = serde_json::to_string(said).map_err(|_| Some(FAULT))?;
        self.send(Message::Text(text.into())).await
    }

    /// Sends, unless the connection has to be closed meanwhile or the client does not take it.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            sent = tokio::time::timeout(SLOW, self.socket.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                _ => Err(None),
            },
            () = self.connection.closed() => {
                Err(Some(if self.app.live.connections.is_closing() { RESTART } else { SIGN_IN }))
            }
        }
    }
}

fn fault(error: Error) -> End {
    tracing::warn!(error = %error, "a notification socket is closed: its data cannot be read");
    Some(FAULT)
}

async fn unread(reader: &Reader<'_>, user: UserId) -> Result<Option<recipient::Model>> {
    reader.select_with_deleted::<recipient::Entity>().id(user).one().await
}

async fn own(reader: &Reader<'_>, user: UserId, id: NotificationId) -> Result<Option<notification::Model>> {
    use sea_orm::ColumnTrait as _;
    let row = reader.select_with_deleted::<notification::Entity>().id(id);
    row.filter(notification::Column::UserId.eq(user)).filter(notification::Column::InApp.eq(true)).one().await
}
