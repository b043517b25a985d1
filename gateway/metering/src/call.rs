//! One call: read, reserved for, sent on, its answer watched, and settled whatever becomes of it. Not for sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use kernel::{Error, RequestId, Result};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::{Pace, Plan};
use crate::format::{Format, Meter};
use crate::ledger::{Caller, Ledger, ReservationId, Wanted};
use crate::open::Open;
use crate::plain::Plain;
use crate::request::Asked;
use crate::stream::Stream;
use crate::usage::{Outcome, Spent};

/// How often settling is tried before the reservation is left to the end of its lease.
const TRIES: u32 = 6;

/// What has been counted since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were refused because a budget is exhausted.
    pub refused: u64,
    /// Calls that were settled with the provider's own word, and with an estimate.
    pub settled: [u64; 2],
    /// Calls whose answer was cut off because the budget ended.
    pub cut_off: u64,
    /// Tokens of questions, and of answers.
    pub tokens: [u64; 2],
    /// Settlements that the ledger did not take, however often it was asked.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Tally {
    refused: AtomicU64,
    settled: [AtomicU64; 2],
    cut_off: AtomicU64,
    tokens: [AtomicU64; 2],
    lost: AtomicU64,
}

struct Inner {
    ledger: Arc<dyn Ledger>,
    background: Handle,
    tally: Tally,
    /// How many settlements are under way.
    under_way: watch::Sender<usize>,
}

/// Metering, made once; outlives reloads. Cloning it is cheap.
#[derive(Clone)]
pub struct Metering(Arc<Inner>);

impl std::fmt::Debug for Metering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metering").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// A call that was let through. Dropped before its answer came, it is settled at what its question probably cost:
/// the origin may have read it. Say [`Call::release`] where it has not.
#[derive(Debug)]
pub struct Call(Option<Box<Open>>);

impl Metering {
    /// Returns metering on this ledger; settlements run on the runtime behind `background`.
    pub fn new(ledger: Arc<dyn Ledger>, background: Handle) -> Self {
        let tally = Tally::default();
        Self(Arc::new(Inner { ledger, background, tally, under_way: watch::Sender::new(0) }))
    }

    /// Reads a request to a language model, reserves what it may cost, and returns it as it is to be sent on.
    ///
    /// Requests without a body (`GET /v1/models`) pass; they cost nothing.
    pub async fn begin(&self, plan: &Plan, caller: Caller, request: Request<Body>) -> Result<(Request<Body>, Call)> {
        if request.method() != Method::POST {
            return Ok((request, Call(None)));
        }
        let (mut parts, body) = request.into_parts();
        check(&parts.headers)?;
        let mut body = web::bytes_within(body, plan.max_request).await?;
        let asked = Asked::read(&body)?;
        let format = plan.format.unwrap_or_else(|| Format::of_path(parts.uri.path()));
        let price = plan.price(&asked.model)?;
        let all = |tokens: i64| tokens.saturating_mul(asked.choices);
        let (least, most) = match asked.most {
            Some(most) => (all(most), all(most)),
            None => (all(plan.least_output), all(plan.default_output)),
        };
        let wanted = Wanted {
            id: ReservationId(RequestId::create()),
            caller,
            model: asked.model.as_str().into(),
            question: asked.question,
            least,
            most,
            price,
            budgets: plan.budgets.clone(),
            lease: plan.lease,
        };
        let reserved = self.0.ledger.reserve(&wanted).await.inspect_err(|error| {
            if error.code() == "gateway.budget_exhausted" {
                self.0.tally.refused.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        let usage = wanted.usage(reserved.answer);
        let added_usage = plan.ask_for_usage && asked.stream && format == Format::OpenaiChat && !asked.wants_usage;
        // From here on dropping it gives back what was reserved.
        let open = Open {
            metering: self.clone(),
            id: wanted.id,
            format,
            price,
            meter: Meter::new(asked.question),
            limit: (asked.most.is_some() || plan.write_output_limit).then_some(reserved.answer),
            granted: (!plan.budgets.is_empty()).then(|| (usage.total(), price.cost(usage))),
            added_usage,
            pace: plan.pace,
            settled: false,
        };
        if added_usage {
            body = asked.ask_for_usage(&body);
        }
        if plan.write_output_limit && asked.most.is_none() {
            body = Asked::limit_output(&body, format, (reserved.answer / asked.choices).max(1));
        }
        if parts.headers.contains_key(CONTENT_LENGTH) {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        // What is compressed cannot be counted while it passes.
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok((Request::from_parts(parts, Body::from(body)), Call(Some(Box::new(open)))))
    }

    /// Returns what has been counted.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.0.tally;
        Counts {
            refused: read(&tally.refused),
            settled: tally.settled.each_ref().map(read),
            cut_off: read(&tally.cut_off),
            tokens: tally.tokens.each_ref().map(read),
            lost: read(&tally.lost),
        }
    }

    /// Waits until every settlement that is under way has been taken, or given up: for the end of the process.
    pub async fn settled(&self) {
        let mut under_way = self.0.under_way.subscribe();
        let _ = under_way.wait_for(|under_way| *under_way == 0).await;
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        self.0.ledger.clone()
    }

    /// Has a settlement, or a release, written down in the background.
    pub(crate) fn enter(&self, id: ReservationId, spent: Option<Spent>) {
        if let Some(spent) = &spent {
            let tally = &self.0.tally;
            tally.settled[usize::from(spent.estimated)].fetch_add(1, Ordering::Relaxed);
            tally.cut_off.fetch_add(u64::from(spent.outcome == Outcome::CutOff), Ordering::Relaxed);
            for (counter, tokens) in tally.tokens.iter().zip([spent.usage.question(), spent.usage.output]) {
                counter.fetch_add(u64::try_from(tokens).unwrap_or_default(), Ordering::Relaxed);
            }
        }
        self.0.under_way.send_modify(|under_way| *under_way += 1);
        let under_way = UnderWay(self.clone());
        self.0.background.spawn(async move {
            under_way.0.settle(&id, spent).await;
            drop(under_way);
        });
    }

    async fn settle(&self, id: &ReservationId, spent: Option<Spent>) {
        let mut pause = Duration::from_millis(50);
        for attempt in 1..=TRIES {
            let entered = match spent {
                Some(spent) => self.0.ledger.settle(id, spent).await,
                None => self.0.ledger.release(id).await,
            };
            match entered {
                Ok(()) => return,
                Err(error) if attempt == TRIES => {
                    self.0.tally.lost.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(error = %error, "a call could not be settled; its lease will be");
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 3;
                }
            }
        }
    }
}

/// Counts a settlement as long as it is under way, also when its runtime ends.
struct UnderWay(Metering);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.under_way.send_modify(|under_way| *under_way -= 1);
    }
}

fn check(headers: &HeaderMap) -> Result<()> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if headers.contains_key(CONTENT_ENCODING) || !is(kind, "application/json") {
        let message = "requests to language models are JSON, and not compressed";
        return Err(Error::invalid("gateway.model_request_invalid", message).status_code(415));
    }
    Ok(())
}

fn is(kind: &str, wanted: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

impl Call {
    /// Gives back what was reserved: the request never reached the origin.
    pub fn release(mut self) {
        if let Some(mut open) = self.0.take() {
            open.release();
        }
    }

    /// Watches the answer. One that says the call failed costs nothing; of any other, the body settles the call.
    pub fn answer(mut self, response: Response<Body>) -> Response<Body> {
        let Some(mut open) = self.0.take() else { return response };
        if !response.status().is_success() {
            open.release();
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let readable = !parts.headers.contains_key(CONTENT_ENCODING);
        let body = if readable && is(kind, "text/event-stream") {
            // It may end earlier than it says, or with other words.
            parts.headers.remove(CONTENT_LENGTH);
            let pace = open.pace;
            Body::new(Stream::new(body, pace, Some(open)))
        } else {
            Body::new(Plain::new(body, open))
        };
        Response::from_parts(parts, body)
    }
}

/// Keeps an event stream alive that costs nothing, and gives it up when its origin falls silent.
pub fn paced(response: Response<Body>, pace: Pace) -> Response<Body> {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let plain = !headers.contains_key(CONTENT_ENCODING) && is(kind, "text/event-stream");
    if !plain || pace == Pace::default() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::new(Stream::new(body, pace, None)))
}
