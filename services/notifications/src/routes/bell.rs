//! One open socket of one person: what it hears from the log, what it says, and when it ends. Not for
//! letting anybody in: see `socket`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use events::{Feed, Published};
use kernel::{Ctx, Error, Kind, Result, Timestamp, UserId};
use sea_orm::ColumnTrait as _;
use serde::{Deserialize, Serialize};
use service::App;
use store::{EventFilter, EventRow, Reader};
use tokio::time::Instant;
use web::{Connection, Principal};

use crate::raise::RAISED;
use crate::routes::list::{Notification, view};
use crate::routes::read::READ;
use crate::tables::notification::{self, NotificationId};
use crate::tables::recipient;

/// How often a sign of life is sent; who answers none for two of them is gone.
const PING: Duration = Duration::from_secs(25);
/// How long a client may take to accept a message.
pub(crate) const SLOW: Duration = Duration::from_secs(10);
/// How many events are looked through for who comes back, page by page; more means: load anew.
const PAGE: u64 = 200;
const PAGES: u32 = 25;

/// Says to sign in again: the credential ended, was revoked or is somebody else's.
pub(crate) const SIGN_IN: u16 = 4401;
/// Says to come back: the process is stopping.
pub(crate) const RESTART: u16 = 1012;
/// Says that the server could not go on.
const FAULT: u16 = 1011;

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

/// Why a socket ends: the code to close with, or nothing where the client is gone.
pub(crate) type End = Option<u16>;

/// One open socket. What it does rarely is boxed, so that an idle one stays small.
pub(crate) struct Bell {
    pub app: App,
    pub principal: Arc<Principal>,
    pub connection: Connection,
    pub ctx: Ctx,
    pub user: UserId,
    /// The person's id as events write it.
    pub text: String,
    pub feed: Feed,
    pub socket: WebSocket,
    /// Everything up to here was sent or is not the person's.
    pub position: i64,
    pub until: Timestamp,
    /// How many pings were sent since the client was last heard.
    pub unheard: u8,
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
    /// Goes on until it ends.
    pub(crate) async fn ring(&mut self) -> End {
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
                Woken::Event(event) if !self.concerns(&event.event) => {
                    self.position = self.position.max(event.position)
                }
                Woken::Time => {
                    if let Err(end) = Box::pin(self.on_time()).await {
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
                    // A new token moves the end.
                    let heard = matches!(other, Woken::Message(_));
                    if let Err(end) = Box::pin(self.act(other)).await {
                        return end;
                    }
                    if heard {
                        tick.as_mut().reset(self.next_tick());
                    }
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
    pub(crate) async fn greet(&mut self, after: Option<i64>, asked_epoch: Option<String>) -> Result<(), End> {
        let (to, epoch) = (self.feed.from, self.app.live.hub.epoch().clone());
        let same_log = asked_epoch.is_none_or(|asked| *asked == *epoch);
        let reset = match after {
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
            Kind::Unauthenticated | Kind::Forbidden => Some(SIGN_IN),
            _ => fault(error),
        })?;
        let same =
            verified.principal.tenant == self.principal.tenant && verified.principal.actor == self.principal.actor;
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
    let row = reader.select_with_deleted::<notification::Entity>().id(id);
    row.filter(notification::Column::UserId.eq(user)).filter(notification::Column::InApp.eq(true)).one().await
}
