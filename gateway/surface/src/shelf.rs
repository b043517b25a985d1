//! The documents of upstreams: which to ask for now, what an answer means, and the last good one of
//! each. A state machine with time passed in. Not for sending requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::source::{Door, Source, United};
use crate::unite::unite;

/// The first wait after a failure; it doubles up to the usual one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How documents of upstreams are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a document is believed before it is asked for again.
    pub refresh_seconds: u64,
    /// How long one may take to arrive.
    pub timeout_ms: u64,
    /// How large one may be.
    pub max_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { refresh_seconds: 60, timeout_ms: 5_000, max_bytes: 8 << 20 }
    }
}

impl Config {
    /// Says what is wrong with the settings.
    pub fn check(&self) -> Result<()> {
        if self.refresh_seconds == 0 || self.timeout_ms == 0 || self.max_bytes == 0 {
            let message = "documents.refresh_seconds, timeout_ms and max_bytes must be at least 1";
            return Err(Error::invalid("config.invalid", message));
        }
        Ok(())
    }
}

/// A request to make: GET, with these limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Of which upstream.
    pub upstream: String,
    /// At which path.
    pub path: String,
    /// The value of `If-None-Match`.
    pub if_none_match: Option<String>,
    /// How long to wait.
    pub timeout: Duration,
    /// How much to read; one byte more is too much.
    pub max_bytes: usize,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Asked {
    /// There was an answer.
    Answered {
        /// Its status.
        status: u16,
        /// Its `ETag`.
        etag: Option<String>,
        /// Its body, as far as it was read.
        body: Vec<u8>,
    },
    /// There was none, or it was too large or too slow.
    Failed(String),
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing new.
    Unchanged,
    /// A new document: unite again.
    New,
    /// The last good one stays, for this reason.
    Kept(String),
}

struct Volume {
    upstream: String,
    path: String,
    next: Instant,
    failures: u32,
    etag: Option<String>,
    good: Option<Arc<Value>>,
    fresh: Option<Arc<Value>>,
}

/// The documents of all upstreams that have one.
pub struct Shelf {
    config: Config,
    volumes: Vec<Volume>,
}

impl Shelf {
    /// Returns an empty shelf; `upstreams` are names and the paths of their documents.
    pub fn new(config: Config, upstreams: impl IntoIterator<Item = (String, String)>, now: Instant) -> Self {
        let volume =
            |(upstream, path)| Volume { upstream, path, next: now, failures: 0, etag: None, good: None, fresh: None };
        Self { config, volumes: upstreams.into_iter().map(volume).collect() }
    }

    /// Returns when something has to be asked for next.
    pub fn next(&self) -> Option<Instant> {
        self.volumes.iter().map(|volume| volume.next).min()
    }

    /// Returns what to ask for now; each must be answered with `take`, or it is asked for again later.
    pub fn due(&mut self, now: Instant) -> Vec<Want> {
        let timeout = Duration::from_millis(self.config.timeout_ms);
        let refresh = Duration::from_secs(self.config.refresh_seconds);
        let mut wants = Vec::new();
        for volume in self.volumes.iter_mut().filter(|volume| volume.next <= now) {
            volume.next = now + timeout + refresh;
            wants.push(Want {
                upstream: volume.upstream.clone(),
                path: volume.path.clone(),
                if_none_match: volume.etag.clone(),
                timeout,
                max_bytes: self.config.max_bytes,
            });
        }
        wants
    }

    /// Takes what became of a request.
    pub fn take(&mut self, upstream: &str, asked: Asked, now: Instant) -> Taken {
        let (refresh, most) = (Duration::from_secs(self.config.refresh_seconds), self.config.max_bytes);
        let Some(volume) = self.volumes.iter_mut().find(|volume| volume.upstream == upstream) else {
            return Taken::Unchanged;
        };
        let read = match asked {
            Asked::Answered { status: 304, .. } if volume.etag.is_some() => Ok(None),
            Asked::Answered { status: 200, etag, body } => read(&body, most).map(|document| Some((document, etag))),
            Asked::Answered { status, .. } => Err(format!("it answered {status}")),
            Asked::Failed(why) => Err(why),
        };
        match read {
            Err(why) => {
                let wait = FIRST_RETRY.saturating_mul(1 << volume.failures.min(16));
                volume.failures += 1;
                volume.next = now + wait.min(refresh);
                Taken::Kept(why)
            }
            Ok(None) => {
                (volume.failures, volume.next) = (0, now + refresh);
                Taken::Unchanged
            }
            Ok(Some((document, etag))) => {
                (volume.failures, volume.next, volume.etag) = (0, now + refresh, etag);
                let known = volume.fresh.as_ref().or(volume.good.as_ref());
                if known.is_some_and(|known| **known == document) {
                    return Taken::Unchanged;
                }
                volume.fresh = Some(Arc::new(document));
                Taken::New
            }
        }
    }

    /// Unites the newest documents with the door's own. A new one that cannot be united is refused, and
    /// the last good one of that upstream stays; the refusals are told beside the result.
    pub fn unite(
        &mut self,
        door: &Door,
        own: &Source,
        upstream: impl Fn(&str, Arc<Value>) -> Source,
    ) -> Result<(United, Vec<(String, Error)>)> {
        let newest = self.volumes.iter().filter_map(|volume| {
            let document = volume.fresh.as_ref().or(volume.good.as_ref())?;
            Some(upstream(&volume.upstream, document.clone()))
        });
        let all: Vec<Source> = std::iter::once(own.clone()).chain(newest).collect();
        if let Ok(united) = unite(door, &all) {
            for volume in &mut self.volumes {
                volume.good = volume.fresh.take().or(volume.good.take());
            }
            return Ok((united, Vec::new()));
        }
        // One of them is at fault: take them one by one, each as new as it can be.
        let mut sources = vec![own.clone()];
        let mut united = unite(door, &sources)?;
        let mut refused = Vec::new();
        for volume in &mut self.volumes {
            for document in [volume.fresh.take(), volume.good.take()].into_iter().flatten() {
                sources.push(upstream(&volume.upstream, document.clone()));
                match unite(door, &sources) {
                    Ok(more) => {
                        (united, volume.good) = (more, Some(document));
                        break;
                    }
                    Err(error) => {
                        sources.pop();
                        // It must come whole again, not as "nothing new".
                        volume.etag = None;
                        refused.push((volume.upstream.clone(), error));
                    }
                }
            }
        }
        Ok((united, refused))
    }
}

fn read(body: &[u8], most: usize) -> std::result::Result<Value, String> {
    if body.len() > most {
        return Err(format!("it is larger than {most} bytes"));
    }
    let document: Value = serde_json::from_slice(body).map_err(|error| format!("it is not JSON: {error}"))?;
    match document.get("openapi").or_else(|| document.get("swagger")) {
        Some(_) => Ok(document),
        None => Err("it is no OpenAPI document".to_owned()),
    }
}
