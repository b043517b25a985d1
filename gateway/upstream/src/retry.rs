//! Retries and hedges: what may be sent again, when, and whether the budgets allow it (RFC 9110, sections
//! 9.2.2 and 10.2.3). Not for a dead pooled connection, which an attempt replaces by itself.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::FutureExt as _;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use kernel::Clock;

use crate::attempt::{Among, Shot};
use crate::client::{Answered, Client, is_good};
use crate::failure::{Failure, FailureKind};
use crate::outgoing::Outgoing;
use crate::prepare::stated_length;
use crate::random::Random;
use crate::replay::Replay;
use crate::settings::RetryConfig;
use crate::tenants::TenantState;
use crate::upload::Upload;

/// The share of answers that are there before a hedged request asks a second server.
const HEDGE_AT: f64 = 0.95;
/// Parts of a failed answer that are read so that its connection can be used again.
const DRAINED: usize = 4;

/// A request that may be sent several times.
struct Volley<'a> {
    shot: &'a Shot<'a>,
    replay: Option<Replay>,
    state: Option<Arc<TenantState>>,
    /// Whether doing it twice is the same as doing it once.
    repeatable: bool,
}

impl Client {
    /// Sends a request until it is answered, or may not be sent again.
    pub(crate) async fn persist(
        &self,
        shot: &Shot<'_>,
        parts: Parts,
        body: Body,
        retries: bool,
        hedges: bool,
    ) -> Answered {
        let (upstream, config) = (shot.upstream, &shot.upstream.config.retry);
        let head = Request::from_parts(parts, ());
        let repeatable = shot.call.may_repeat(&head);
        let parts = head.into_parts().0;
        // Kept even where it must not be repeated: a server of HTTP/2 may say that it did nothing with it.
        let replay = (!body.is_end_stream()).then(|| Replay::new(body, config.max_body_bytes));
        let state = upstream.tenants.state(shot.call.tenant);
        let volley = Volley { shot, replay, state, repeatable };
        volley.deposit();
        let (mut tried, mut head) = (Vec::new(), Some(parts));
        for attempt in 1.. {
            let Some(parts) = head.take() else { break };
            let answered = match hedges && attempt == 1 {
                true => {
                    let (asked, answered) = Box::pin(self.hedged(&volley, &parts)).await;
                    tried.extend(asked);
                    head = Some(parts);
                    answered
                }
                false => {
                    // Without a body the head comes back if it may be wanted, which costs less than a copy of it.
                    head = volley.replay.is_some().then(|| parts.clone());
                    let (request, upload) = volley.request(parts);
                    let mut request = Some(request);
                    let chosen = Cell::new(None);
                    let among = volley.among(&chosen);
                    let (id, answered) = self.attempt(shot, &mut request, upload, &tried, Some(&among)).await;
                    tried.extend(id);
                    head = head.or_else(|| Some(request?.into_parts().0));
                    answered
                }
            };
            let more = retries && attempt < config.max_attempts && head.is_some();
            let Some(at_least) = more.then(|| volley.again(&answered)).flatten() else { return answered };
            let backoff = backoff(config, &self.0.random, attempt).max(at_least);
            let now = Instant::now();
            if now + backoff >= shot.call.deadline || !volley.withdraw(now) {
                return answered;
            }
            upstream.metrics.retries.inc();
            drain(answered);
            tokio::time::sleep(backoff).await;
        }
        Err(Failure::new(FailureKind::Deadline))
    }

    /// Asks a second server when the first one is slow; the first good answer counts.
    async fn hedged(&self, volley: &Volley<'_>, parts: &Parts) -> (Vec<u64>, Answered) {
        let (shot, upstream) = (volley.shot, volley.shot.upstream);
        let (first_chosen, second_chosen) = (Cell::new(None), Cell::new(None));
        let among = volley.among(&first_chosen);
        let (request, upload) = volley.request(parts.clone());
        let mut request = Some(request);
        let mut first = pin!(self.attempt(shot, &mut request, upload, &[], Some(&among)));
        let after = match upstream.config.retry.hedge_after_ms {
            0 => upstream.percentiles.within(HEDGE_AT),
            fixed => Some(Duration::from_millis(fixed)),
        };
        let alone = upstream.members.load().slots.len() < 2;
        let early = match after.filter(|_| !alone) {
            None => Some(first.as_mut().await),
            Some(after) => tokio::time::timeout(after, first.as_mut()).await.ok(),
        };
        let (_, answered) = match early {
            Some(done) => done,
            None if !volley.withdraw(Instant::now()) => first.await,
            None => {
                upstream.metrics.hedges.inc();
                let tried: Vec<u64> = first_chosen.get().into_iter().collect();
                let among = volley.among(&second_chosen);
                let (request, upload) = volley.request(parts.clone());
                let mut request = Some(request);
                let second = pin!(self.attempt(shot, &mut request, upload, &tried, Some(&among)));
                first_good(first, second, |(_, answered)| is_good(answered)).await
            }
        };
        (first_chosen.get().into_iter().chain(second_chosen.get()).collect(), answered)
    }
}

/// Waits for a good one of two; the other is dropped, and so cancelled. When none is good, the first to
/// fail is as good as any.
async fn first_good<T>(
    mut first: impl Future<Output = T> + Unpin,
    mut second: impl Future<Output = T> + Unpin,
    good: impl Fn(&T) -> bool,
) -> T {
    let (mut first_over, mut second_over, mut bad) = (false, false, None);
    poll_fn(move |cx| {
        if !first_over && let Poll::Ready(done) = first.poll_unpin(cx) {
            first_over = true;
            if second_over || good(&done) {
                return Poll::Ready(done);
            }
            bad = Some(done);
        }
        if !second_over && let Poll::Ready(done) = second.poll_unpin(cx) {
            second_over = true;
            if good(&done) {
                return Poll::Ready(done);
            }
            bad.get_or_insert(done);
        }
        match first_over && second_over {
            true => bad.take().map_or(Poll::Pending, Poll::Ready),
            false => Poll::Pending,
        }
    })
    .await
}

impl<'a> Volley<'a> {
    fn request(&self, parts: Parts) -> (Request<Outgoing>, Option<Arc<Upload>>) {
        match &self.replay {
            None => (Request::from_parts(parts, Outgoing::Empty), None),
            Some(replay) => {
                let upload = Upload::new(Instant::now(), stated_length(&parts.headers));
                let body = Outgoing::Again(replay.start(), upload.clone());
                (Request::from_parts(parts, body), Some(upload))
            }
        }
    }

    fn among(&'a self, chosen: &'a Cell<Option<u64>>) -> Among<'a> {
        let recalls = self.repeatable && self.replay.is_none();
        Among { state: self.state.as_ref(), chosen, now: Instant::now(), recalls }
    }

    fn deposit(&self) {
        let now = self.shot.began;
        self.shot.upstream.budget.deposit(now);
        if let Some(state) = &self.state {
            state.budget.deposit(now);
        }
    }

    /// Takes one further attempt from the tenant's budget and the upstream's.
    fn withdraw(&self, now: Instant) -> bool {
        let upstream = self.shot.upstream;
        let own = self.state.as_ref().is_some_and(|state| state.budget.withdraw(now));
        let allowed = own && upstream.budget.withdraw(now);
        if !allowed {
            upstream.metrics.denied.inc();
        }
        allowed
    }

    /// Says whether to send again, and after which time at the earliest.
    fn again(&self, answered: &Answered) -> Option<Duration> {
        if self.replay.as_ref().is_some_and(|replay| !replay.can_repeat()) {
            return None;
        }
        match answered {
            Ok(response) => {
                let retried = self.shot.upstream.config.retry.statuses.contains(&response.status().as_u16());
                let wait = retry_after(response.headers(), &self.shot.upstream.clock);
                (retried && self.repeatable).then_some(wait)
            }
            Err(failure) => {
                let harmless = self.repeatable || failure.kind().undone();
                (failure.kind().retriable() && harmless).then_some(Duration::ZERO)
            }
        }
    }
}

/// Returns a wait with full jitter: anything between nothing and a bound that doubles.
fn backoff(config: &RetryConfig, random: &Random, attempt: u32) -> Duration {
    let times = 1_u64.checked_shl(attempt - 1).unwrap_or(u64::MAX);
    let bound = config.backoff_ms.saturating_mul(times).min(config.backoff_max_ms);
    random.within(Duration::from_millis(bound))
}

/// Reads `Retry-After`, seconds or a date.
fn retry_after(headers: &HeaderMap, clock: &Clock) -> Duration {
    let Some(text) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else { return Duration::ZERO };
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Duration::from_secs(u64::from(seconds));
    }
    let Ok(date) = jiff::fmt::rfc2822::parse(text.trim()) else { return Duration::ZERO };
    let wait = date.timestamp().as_microsecond().saturating_sub(clock.now().0);
    Duration::from_micros(u64::try_from(wait).unwrap_or(0))
}

/// Reads what is there of a short answer, so that its connection can be used again at once.
fn drain(answered: Answered) {
    let Ok(mut response) = answered else { return };
    for _ in 0..DRAINED {
        match response.body_mut().frame().now_or_never() {
            Some(Some(Ok(_))) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use http::HeaderValue;
    use kernel::Timestamp;

    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_drawn() {
        let (config, random) = (RetryConfig::default(), Random::seeded(3));
        for (attempt, bound) in [(1, 50), (2, 100), (3, 200), (5, 800), (6, 1000), (90, 1000)] {
            let drawn: Vec<Duration> = (0..200).map(|_| backoff(&config, &random, attempt)).collect();
            let bound = Duration::from_millis(bound);
            assert!(drawn.iter().all(|wait| *wait < bound), "attempt {attempt}");
            assert!(drawn.iter().any(|wait| *wait > bound * 3 / 4) && drawn.iter().any(|wait| *wait < bound / 4));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let clock = Clock::manual(Timestamp::parse("1994-11-06T08:49:30Z").expect("a time"));
        for (text, seconds) in [
            ("3", 3),
            (" 120 ", 120),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 7),
            ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
            ("-1", 0),
            ("soon", 0),
        ] {
            let headers = [(RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect();
            assert_eq!(retry_after(&headers, &clock), Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), &clock), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_first_good_one_counts() {
        let good = |number: &i32| *number > 0;
        assert_eq!(first_good(ready(1), ready(2), good).await, 1);
        assert_eq!(first_good(pending(), ready(2), good).await, 2);
        assert_eq!(first_good(ready(-1), ready(2), good).await, 2);
        assert_eq!(first_good(ready(1), ready(-2), good).await, 1);
        assert!(first_good(ready(-1), ready(-2), good).await < 0);
        assert!(first_good(ready(-1), pending(), good).now_or_never().is_none());
    }
}
