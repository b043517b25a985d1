//! One client's way along the log: what it missed from SQL, then what happens from the hub, each
//! event once and in order. It keeps no queue: the client's socket pulls. Not for HTTP.

use std::sync::Arc;
use std::time::Duration;
use std::{pin::Pin, vec};

use bytes::Bytes;
use events::{Feed, Hub, Lagged, Published};
use futures_util::FutureExt as _;
use kernel::{Ctx, Error, Result, Timestamp};
use serde_json::json;
use store::{EventFilter, EventRow, LogState, Store};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use web::Connection;

use super::selection::Selection;

/// How many events are read from the log at a time.
const PAGE: u64 = 100;
/// How long a stream is silent at most: proxies and clients take a longer silence for a dead line.
const SILENCE: Duration = Duration::from_secs(20);

/// Whose events are followed.
pub(super) enum Scope {
    /// Those of one tenant.
    Tenant(Arc<Ctx>),
    /// Those of all.
    All,
}

/// A place in a log, as ids of events say it: `{epoch}.{position}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    epoch: Box<str>,
    pub position: i64,
}

impl Place {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (epoch, position) = text.split_once('.')?;
        let sound = (1..=64).contains(&epoch.len()) && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let digits = sound && position.bytes().all(|byte| byte.is_ascii_digit());
        let position = position.parse().ok().filter(|_| digits)?;
        Some(Self { epoch: epoch.into(), position })
    }
}

/// What is followed, and for how long.
pub(super) struct Following {
    pub store: Store,
    pub hub: Hub,
    pub scope: Scope,
    pub selection: Selection,
    /// Lets only so many streams read the log at once.
    pub reads: Arc<Semaphore>,
    /// Where the database's connections live: streams are pulled on other runtimes.
    pub runtime: Handle,
    pub connection: Connection,
    pub until: Timestamp,
    pub ends: Instant,
}

/// A stream under way.
pub(super) struct Reading {
    following: Following,
    feed: Feed,
    /// Everything up to here was looked at.
    position: i64,
    /// What the client holds as its last id.
    told: i64,
    page: vec::IntoIter<EventRow>,
    /// The stream's first words.
    greeting: Option<Bytes>,
    spoke: Instant,
    /// Made by whoever pulls first, on the runtime where it is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Following {
    /// Goes on from a place, or from now.
    pub(super) async fn from(self, place: Option<Place>, retry: Duration) -> Result<Reading> {
        // Joined before anything is read: what is not in the log by then comes through the feed.
        let feed = self.join();
        let log = store::log_state(&self.store).await?;
        // The hub may not have read yet what was there before the client came.
        let now = log.last.max(feed.from);
        let (position, reset) = match place {
            None => (now, None),
            Some(place) => match self.lost(&place, &log, now) {
                None => (place.position, None),
                lost => (now, lost),
            },
        };
        let epoch = self.hub.epoch();
        let (event, data) = match reset {
            None => ("ready", json!({ "position": position, "epoch": **epoch })),
            Some(reason) => {
                let snapshot = format!("/api/events?after={}", log.horizon);
                let data = json!({
                    "reason": reason, "position": position, "epoch": **epoch, "snapshot": snapshot,
                });
                ("reset", data)
            }
        };
        let retry = retry.as_millis();
        let greeting = format!("retry: {retry}\nid: {epoch}.{position}\nevent: {event}\ndata: {data}\n\n");
        Ok(Reading {
            following: self,
            feed,
            position,
            told: position,
            page: Vec::new().into_iter(),
            greeting: Some(greeting.into()),
            spoke: Instant::now(),
            timer: None,
        })
    }

    /// Says why nobody can go on from a place.
    fn lost(&self, place: &Place, log: &LogState, now: i64) -> Option<&'static str> {
        match () {
            () if *place.epoch != **self.hub.epoch() => Some("epoch"),
            // Another process may have read further than this one, but not further than the log goes.
            () if place.position > now => Some("future"),
            () if place.position < log.horizon => Some("retention"),
            () => None,
        }
    }

    fn join(&self) -> Feed {
        match &self.scope {
            Scope::Tenant(ctx) => self.hub.join(Some(ctx.tenant())),
            Scope::All => self.hub.join(None),
        }
    }

    /// Reads what comes after a position, in one short read.
    async fn page(&self, after: i64) -> Result<Vec<EventRow>> {
        let turn = self.reads.clone().acquire_owned().await;
        let turn = turn.map_err(|error| Error::internal("nobody lets streams read").source_error(error))?;
        let (store, kinds) = (self.store.clone(), self.selection.kinds());
        let read = match &self.scope {
            Scope::Tenant(ctx) => {
                let (ctx, filter) = (ctx.clone(), EventFilter { kinds, subject: self.selection.subject() });
                self.runtime.spawn(async move {
                    let _turn = turn;
                    let reader = store.read(&ctx).await?;
                    let rows = reader.events_after(after, &filter, PAGE).await?;
                    reader.close().await?;
                    Ok(rows)
                })
            }
            Scope::All => self.runtime.spawn(async move {
                let _turn = turn;
                store::events_after(&store, after, Some(&kinds), PAGE).await
            }),
        };
        read.await.map_err(|error| Error::internal("a stream's read did not end").source_error(error))?
    }
}

impl Reading {
    /// Returns what the client is sent next; nothing ends the stream.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_over() {
                return None;
            }
            if let Some(greeting) = self.greeting.take() {
                return Some(greeting);
            }
            if let Some(row) = self.page.next() {
                if let Some(frame) = self.take(&Published::new(self.following.hub.epoch().clone(), row)) {
                    return Some(frame);
                }
            } else if self.position < self.feed.from {
                self.read_on().await?;
            } else {
                let (connection, ends) = (&self.following.connection, self.following.ends);
                let timer = self
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(ends.min(self.spoke + SILENCE))));
                tokio::select! {
                    biased;
                    () = connection.closed() => return None,
                    got = self.feed.next() => match got {
                        Ok(Some(published)) => {
                            if self.is_over() {
                                return None;
                            }
                            if let Some(frame) = self.take(&published) {
                                return Some(frame);
                            }
                        }
                        Ok(None) => return None,
                        // What was missed is in the log by now, and the new feed says up to where.
                        Err(Lagged) => self.feed = self.following.join(),
                    },
                    () = timer => {
                        let now = Instant::now();
                        let silent = now >= self.spoke + SILENCE;
                        if silent {
                            self.spoke = now;
                        }
                        let next = ends.min(self.spoke + SILENCE);
                        if let Some(timer) = &mut self.timer {
                            timer.as_mut().reset(next);
                        }
                        if silent && now < ends {
                            return Some(self.sign_of_life());
                        }
                    }
                }
            }
        }
    }

    /// Says whether the stream has to end.
    fn is_over(&self) -> bool {
        let following = &self.following;
        following.connection.closed().now_or_never().is_some()
            || Instant::now() >= following.ends
            || following.store.clock().now() >= following.until
    }

    /// Takes an event in, and returns what is to be sent of it.
    fn take(&mut self, published: &Published) -> Option<Bytes> {
        // A client may have seen more, in another process, than this one has read.
        if published.position <= self.position {
            return None;
        }
        self.position = published.position;
        if !self.following.selection.takes(&published.event) {
            return None;
        }
        self.told = published.position;
        self.spoke = Instant::now();
        Some(published.frame())
    }

    /// Reads the next page of what happened before the feed began.
    async fn read_on(&mut self) -> Option<()> {
        let (after, from) = (self.position, self.feed.from);
        let read = tokio::select! {
            biased;
            () = self.following.connection.closed() => return None,
            read = self.following.page(after) => read,
        };
        let rows = match read {
            Ok(rows) => rows,
            Err(error) => {
                // The client comes back with its last id, and nothing is lost.
                tracing::warn!(error = %error, "a stream ends: the log cannot be read");
                return None;
            }
        };
        let read = rows.len() as u64;
        let rows: Vec<EventRow> = rows.into_iter().filter(|row| row.position <= Some(from)).collect();
        let last = rows.last().and_then(|row| row.position).unwrap_or(from);
        if read < PAGE || (rows.len() as u64) < read {
            // Between these and the feed there is nothing else.
            self.feed.from = last;
        }
        if rows.is_empty() {
            self.position = last;
        }
        self.page = rows.into_iter();
        Some(())
    }

    /// Breaks a silence. Where events went by that the client does not get, it learns of the position
    /// alone, which is no event to it, so that it need not look at them again when it comes back.
    fn sign_of_life(&mut self) -> Bytes {
        let reached = self.following.hub.reached(&self.feed).unwrap_or(self.position);
        self.position = self.position.max(reached);
        if self.position == self.told {
            return Bytes::from_static(b":\n\n");
        }
        self.told = self.position;
        format!("id: {}.{}\n\n", self.following.hub.epoch(), self.position).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_strictly() {
        let place = Place::parse("0a1b2c3d4e5f.42").expect("a place");
        assert_eq!((&*place.epoch, place.position), ("0a1b2c3d4e5f", 42));
        assert!(Place::parse(&format!("a.{}", i64::MAX)).is_some());
        for text in ["", ".", "a", "a.", ".1", "a.-1", "a.+1", "a.1.2", "a.1 ", "a b.1", "a.9223372036854775808", "é.1"]
        {
            assert_eq!(Place::parse(text), None, "{text}");
        }
        assert_eq!(Place::parse(&format!("{}.1", "a".repeat(65))), None);
    }
}
