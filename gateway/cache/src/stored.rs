//! An answer that is kept, and the answers that are made of it. Not for choosing it; see `select`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use axum::body::Body;
use http::header::{AGE, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, DATE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use kernel::{TenantId, Timestamp};

use crate::body::Content;
use crate::conditional::{head_of_304, not_modified};
use crate::date;
use crate::directives::{Said, split_list};
use crate::key::Key;
use crate::policy::Policy;
use crate::range::{Part, Wanted, wanted};
use crate::tag::Tag;
use crate::vary::Vary;
use crate::verdict::Meta;

/// Fields that name one request, or one connection; they are never kept.
const UNSTORED: [&str; 12] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "surrogate-control",
    "x-request-id",
    "x-correlation-id",
    "traceparent",
    "tracestate",
    "server-timing",
];

/// A stored answer.
#[derive(Debug)]
pub(crate) struct Stored {
    pub id: u64,
    pub key: Key,
    pub tenant: Option<TenantId>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub content: Arc<Content>,
    /// What of the representation is there, where it is not all.
    pub part: Option<Part>,
    pub vary: Vary,
    pub meta: Meta,
    pub tags: Vec<Tag>,
    /// How many invalidations there had been when it was asked for.
    pub began: u64,
    /// The same, as Redis counts; `None` where it was not asked, and so will not be given it.
    pub counted: Option<u64>,
    pub dead: AtomicBool,
    /// When it was last asked for in the background.
    pub refreshed: AtomicI64,
}

/// How an answer came about, for Cache-Status and for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Given from the store.
    Hit,
    /// Fetched.
    Miss,
    /// Fetched for somebody else, who asked at the same time.
    Coalesced,
    /// Given from the store although it is stale.
    Stale,
    /// Given from the store after the origin said that it is still good.
    Revalidated,
    /// The cache was not asked.
    Bypass,
}

impl Stored {
    /// Returns the same answer with a body.
    pub(crate) fn with_content(&self, id: u64, content: Content) -> Self {
        Self {
            id,
            key: self.key.clone(),
            tenant: self.tenant,
            status: self.status,
            headers: self.headers.clone(),
            content: Arc::new(content),
            part: self.part,
            vary: self.vary.clone(),
            meta: self.meta.clone(),
            tags: self.tags.clone(),
            began: self.began,
            counted: self.counted,
            dead: AtomicBool::new(false),
            refreshed: AtomicI64::new(0),
        }
    }

    /// Returns its weight in memory.
    pub(crate) fn weight(&self) -> u64 {
        const OVERHEAD: u64 = 512;
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 40).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 80).sum();
        OVERHEAD + self.content.length + (headers + tags + 2 * self.key.len() + self.vary.values.len()) as u64
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Says whether somebody should ask for it anew in the background; once in a while.
    pub(crate) fn claim_refresh(&self, now: Timestamp) -> bool {
        const PAUSE: i64 = 1_000_000;
        let last = self.refreshed.load(Ordering::Relaxed);
        let due = now.0.saturating_sub(last) >= PAUSE;
        due && self.refreshed.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Answers a request: a 304, a part, or all of it; the body may still be on its way.
    pub(crate) fn answer(&self, asked: &Asking<'_>, body: Option<Body>) -> Response<Body> {
        let mut response = self.reply(asked, body);
        let age = u64::try_from(self.meta.age(asked.now) / 1_000_000).unwrap_or(0);
        response.headers_mut().insert(AGE, HeaderValue::from(age));
        if asked.policy.cache_status {
            let ttl = (self.meta.lifetime - self.meta.age(asked.now)).div_euclid(1_000_000);
            note(response.headers_mut(), asked.outcome, asked.why, Some(ttl));
        }
        response.extensions_mut().insert(asked.outcome);
        response
    }

    fn reply(&self, asked: &Asking<'_>, body: Option<Body>) -> Response<Body> {
        let whole = self.status == StatusCode::OK || self.part.is_some();
        if whole && not_modified(asked.request, &self.headers, &self.meta) {
            return response(StatusCode::NOT_MODIFIED, head_of_304(&self.headers), Body::empty());
        }
        if let Some(body) = body {
            return response(self.status, self.headers.clone(), if asked.head { Body::empty() } else { body });
        }
        let (offset, total) = match self.part {
            Some(part) => (part.first, part.total),
            None => (0, Some(self.content.length)),
        };
        let reach = total.unwrap_or(offset + self.content.length);
        let wants = if whole && !asked.head { wanted(asked.request, &self.headers, reach) } else { Wanted::Whole };
        match wants {
            Wanted::Part(first, last) => {
                let part = Part { first, last, total };
                let mut headers = self.headers.clone();
                headers.insert(CONTENT_RANGE, part.header());
                headers.insert(CONTENT_LENGTH, HeaderValue::from(part.length()));
                let body = self.content.body(first - offset, part.length());
                response(StatusCode::PARTIAL_CONTENT, headers, body)
            }
            Wanted::Unsatisfiable => {
                let mut headers = head_of_304(&self.headers);
                let range = HeaderValue::try_from(format!("bytes */{reach}")).expect("digits are ASCII");
                headers.insert(CONTENT_RANGE, range);
                response(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty())
            }
            Wanted::Whole => {
                let mut headers = self.headers.clone();
                if asked.head && !headers.contains_key(CONTENT_LENGTH) && self.status != StatusCode::NO_CONTENT {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(self.content.length));
                }
                let body = if asked.head { Body::empty() } else { self.content.body(0, self.content.length) };
                response(self.status, headers, body)
            }
        }
    }

    /// Says whether it has all that this request wants.
    pub(crate) fn covers(&self, request: &HeaderMap) -> bool {
        let Some(part) = self.part else { return true };
        let Some(total) = part.total else { return false };
        match wanted(request, &self.headers, total) {
            Wanted::Part(first, last) => part.first <= first && last <= part.last,
            Wanted::Unsatisfiable => true,
            Wanted::Whole => false,
        }
    }
}

/// Who is asking, and how the answer came about.
pub(crate) struct Asking<'a> {
    pub policy: &'a Policy,
    pub request: &'a HeaderMap,
    pub head: bool,
    pub now: Timestamp,
    pub outcome: Outcome,
    pub why: Why,
}

/// Why the origin was asked (RFC 9211 section 2.2), if it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Not,
    UriMiss,
    VaryMiss,
    Stale,
    Request,
    Method,
    Partial,
    Bypass,
}

/// Adds a member to Cache-Status (RFC 9211).
pub(crate) fn note(headers: &mut HeaderMap, outcome: Outcome, why: Why, ttl: Option<i64>) {
    let mut text = String::with_capacity(48);
    text.push_str(match (outcome, why) {
        (Outcome::Hit | Outcome::Stale, _) => "portico; hit",
        (Outcome::Revalidated, Why::Request) => "portico; fwd=request; fwd-status=304",
        (Outcome::Revalidated, _) => "portico; fwd=stale; fwd-status=304",
        (_, Why::VaryMiss) => "portico; fwd=vary-miss",
        (_, Why::Stale) => "portico; fwd=stale",
        (_, Why::Request) => "portico; fwd=request",
        (_, Why::Method) => "portico; fwd=method",
        (_, Why::Partial) => "portico; fwd=partial",
        (_, Why::Bypass) => "portico; fwd=bypass",
        (_, Why::Not | Why::UriMiss) => "portico; fwd=uri-miss",
    });
    if outcome == Outcome::Coalesced {
        text.push_str("; collapsed");
    }
    if let Some(ttl) = ttl {
        write!(text, "; ttl={ttl}").expect("a String takes everything");
    }
    headers.append("cache-status", HeaderValue::try_from(text).expect("only ASCII was written"));
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Returns the fields of an answer that are kept (RFC 9111 section 3.1).
pub(crate) fn kept(policy: &Policy, headers: &HeaderMap, said: &Said, received: Timestamp) -> HeaderMap {
    let mut kept = headers.clone();
    let nominated = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok()).flat_map(split_list);
    for name in nominated.filter_map(|name| HeaderName::try_from(name).ok()).chain(said.fields.iter().cloned()) {
        kept.remove(name);
    }
    for name in [CONNECTION, TRANSFER_ENCODING, TRAILER, UPGRADE, AGE] {
        kept.remove(name);
    }
    for name in UNSTORED {
        kept.remove(name);
    }
    kept.remove(&policy.tag_header);
    if kept.get(DATE).and_then(date::parse).is_none() {
        // RFC 9110 section 6.6.1: whoever keeps an answer without a date gives it one.
        kept.insert(DATE, date::format(received.seconds()));
    }
    kept
}
