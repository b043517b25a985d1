//! Asks another service as the caller, wherever it runs: with a limit for each try, one more try where
//! that may help, a rest when it keeps failing, and then its last good answer, marked as old. Only for
//! reading: nothing here may be asked that changes something.

use std::time::Duration;

use axum::extract::Request;
use http::StatusCode;
use kernel::{Error, Kind, Result, Timestamp};
use serde::de::DeserializeOwned;
use service::{App, Backend};
use tokio::time::{Instant, sleep, timeout};
use web::Onward;

use crate::circuit::Circuit;
use crate::last_good::LastGood;

/// How long the answer of a service may be, in bytes.
const LONGEST: usize = 1 << 20;
/// How often a question is asked at most.
const TRIES: u32 = 2;

/// How long a caller waits for another service, and what it makes do with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a try may take.
    pub per_try: Duration,
    /// How long all tries together may take.
    pub in_all: Duration,
    /// After how many failures in a row the service is left alone for a while.
    pub failures: u32,
    /// For how long it is left alone.
    pub pause: Duration,
    /// How old an answer may be that is given in place of a new one.
    pub oldest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            per_try: Duration::from_millis(500),
            in_all: Duration::from_millis(1_200),
            failures: 5,
            pause: Duration::from_secs(2),
            oldest: Duration::from_secs(24 * 3_600),
        }
    }
}

/// What another service answered, now or the last time that it could.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered<T> {
    /// The answer.
    pub data: T,
    /// Whether it is the last good answer, because the service does not give one now.
    pub stale: bool,
    /// When it was answered.
    pub as_of: Timestamp,
}

/// Another service, as one client sees it.
pub(crate) struct Peer {
    service: &'static str,
    patience: Patience,
    circuit: Circuit,
    good: LastGood,
}

/// Why there is no new answer.
enum Failure {
    /// It did not answer, or said that it cannot now: a second try may help.
    Away(Error),
    /// It failed: asking again would fail again.
    Broken(Error),
    /// It refused, so it works.
    Refused(Error),
}

impl Peer {
    pub fn new(service: &'static str, patience: Patience) -> Self {
        let (circuit, good) = (Circuit::new(patience.failures, patience.pause), LastGood::new(patience.oldest));
        Self { service, patience, circuit, good }
    }

    /// Asks for `target`, a path with its query, which takes `permission`.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        app: &App,
        onward: &Onward,
        permission: &'static str,
        target: &str,
    ) -> Result<Answered<T>> {
        // The other side checks it too; but it is not asked for what it said before.
        if !onward.allows(permission) {
            return Err(Error::forbidden("request.forbidden", format!("this needs the permission {permission}")));
        }
        let tenant = onward.tenant();
        if self.circuit.lets(app.now()) {
            match self.try_to_ask(app, onward, target).await {
                Ok((data, body)) => {
                    let as_of = app.now();
                    self.circuit.answered();
                    self.good.keep(tenant, target, &body, as_of);
                    return Ok(Answered { data, stale: false, as_of });
                }
                Err(Failure::Refused(error)) => {
                    self.circuit.answered();
                    return Err(error);
                }
                Err(Failure::Away(error) | Failure::Broken(error)) => {
                    let service = self.service;
                    if self.circuit.failed(app.now()) {
                        tracing::warn!(peer.service = service, error = %error, "a service is left alone for a while");
                    } else {
                        tracing::debug!(peer.service = service, error = %error, "a service does not answer");
                    }
                }
            }
        }
        let kept = self.good.find(tenant, target, app.now());
        let read = kept.and_then(|kept| Some((serde_json::from_slice(&kept.body).ok()?, kept.at)));
        let (data, as_of) = read.ok_or_else(|| away(self.service))?;
        Ok(Answered { data, stale: true, as_of })
    }

    async fn try_to_ask<T: DeserializeOwned>(
        &self,
        app: &App,
        onward: &Onward,
        target: &str,
    ) -> Result<(T, Vec<u8>), Failure> {
        let backend = app.peers.get(self.service).ok_or_else(|| {
            Failure::Broken(away(self.service).context("no upstream is configured for it in this process"))
        })?;
        let until = Instant::now() + self.patience.in_all;
        let mut tries = 0;
        loop {
            tries += 1;
            let request = onward.get(target).map_err(Failure::Broken)?;
            let left = self.patience.per_try.min(until.saturating_duration_since(Instant::now()));
            let answered = timeout(left, call(&backend, request, target)).await;
            let failure = match answered.unwrap_or_else(|_| Err(Failure::Away(late(self.service)))) {
                Ok(body) => match serde_json::from_slice(&body) {
                    Ok(data) => return Ok((data, body)),
                    Err(error) => Failure::Broken(
                        Error::internal("an answer of another service cannot be read").source_error(error),
                    ),
                },
                Err(failure) => failure,
            };
            let wait = jitter();
            let room = until.saturating_duration_since(Instant::now()) > wait;
            if tries == TRIES || !room || !matches!(failure, Failure::Away(_)) {
                return Err(failure);
            }
            sleep(wait).await;
        }
    }
}

async fn call(backend: &Backend, request: Request, target: &str) -> Result<Vec<u8>, Failure> {
    let path = target.split('?').next().unwrap_or(target);
    let response = match backend.call(request, path).await {
        Ok(response) => response,
        Err(error) if error.kind() == Kind::Unavailable => return Err(Failure::Away(error)),
        Err(error) => return Err(Failure::Broken(error)),
    };
    let status = response.status();
    let body = web::bytes_within(response.into_body(), LONGEST).await;
    let said =
        |body: &[u8]| format!("{path} answered {status}: {}", String::from_utf8_lossy(&body[..body.len().min(500)]));
    match status {
        StatusCode::OK => body.map(|body| body.to_vec()).map_err(Failure::Away),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Err(Failure::Away(Error::internal(said(&body.unwrap_or_default()))))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let message = "the caller may not see what this needs of another service";
            Err(Failure::Refused(
                Error::forbidden("request.forbidden", message).context(said(&body.unwrap_or_default())),
            ))
        }
        _ => Err(Failure::Broken(Error::internal(said(&body.unwrap_or_default())))),
    }
}

fn late(service: &str) -> Error {
    Error::unavailable("peer.late", format!("{service} did not answer in time"))
}

/// There is neither a new answer nor an old one.
fn away(service: &'static str) -> Error {
    let message = format!("{service} does not answer, and there is no earlier answer to show: try again shortly");
    Error::unavailable("peer.away", message).retry_after(2)
}

/// Returns how long to wait before the second try, so that not all come back at once.
fn jitter() -> Duration {
    let mut byte = [0u8];
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(20 + u64::from(byte[0]) / 4)
}
