//! What a request leaves behind: its spans and its line in the access log. Names are those of OpenTelemetry's
//! semantic conventions for HTTP where they have one. Not for metrics, and not for what is answered.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode};
use http_cache::Outcome;
use kernel::{RequestId, TenantId};
use telemetry::{Asked, Entered, Span, Trace, Tracer};
use tracing::field::display;
use upstream::{Attempt, FailureKind, Observe, Observed, Observer};
use web::ClientAddress;

use crate::plan::Route;
use crate::target::Target;

/// What goes along with a request. Costs nothing while nobody wants to know.
#[derive(Clone, Default)]
pub(crate) struct Trail {
    trace: Trace,
    /// How many attempts at servers came after a first one; where somebody wants to know.
    resent: Option<Arc<AtomicU32>>,
    /// What a sender asked for whose word counts only if it is known.
    asked: Option<Asked>,
}

/// How a request ended.
pub(crate) struct Ended<'a> {
    pub method: &'a Method,
    pub route: Option<&'a Route>,
    pub status: StatusCode,
    pub duration: Duration,
    pub request: &'a RequestId,
    pub correlation: &'a RequestId,
    pub tenant: Option<TenantId>,
    pub client: Option<ClientAddress>,
    /// The size of the body, where it is known before it is sent.
    pub bytes: Option<u64>,
    pub cache: Option<Outcome>,
}

/// Says whether the access log is on.
fn logs() -> bool {
    tracing::enabled!(target: "access", tracing::Level::INFO)
}

impl Trail {
    /// Reads where a request belongs to, and begins its span where it is recorded.
    pub(crate) fn enter(tracer: &Tracer, request: &mut Request) -> (Self, Option<Span>) {
        let Entered { trace, span, asked } = tracer.enter(request);
        let span = span.map(|span| begun(span, request));
        let wanted = span.is_some() || logs();
        (Self { trace, resent: wanted.then(Arc::default), asked }, span)
    }

    /// Records the request after all if its sender asked for that and is believed: another gateway of the
    /// installation, or somebody who has signed in.
    pub(crate) fn believe(
        &mut self,
        tracer: &Tracer,
        (gateway, caller): (bool, bool),
        began: Instant,
        request: &mut Request,
    ) -> Option<Span> {
        let asked = self.asked.take().filter(|_| gateway || caller)?;
        let entered = tracer.believe(asked, gateway, began, request)?;
        self.trace = entered.trace;
        self.resent.get_or_insert_default();
        entered.span.map(|span| begun(span, request))
    }

    /// Writes the trace into the headers of a request of the door's own.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        self.trace.write(headers);
    }

    /// Returns who is told of the attempts of one call.
    pub(crate) fn observer(&self, route: &Route) -> Option<Observer> {
        let resent = self.resent.clone()?;
        let (trace, upstream) = (self.trace.clone(), route.owner.clone());
        Some(Observer(Arc::new(Calls { trace, upstream, attempts: AtomicU32::new(0), resent })))
    }

    /// Begins the span of a service in this process; the request goes on under it.
    pub(crate) fn service(&self, route: &Route, headers: &mut HeaderMap) -> Option<Span> {
        let mut span = self.trace.internal(format!("{} {}", route.owner, route.template))?;
        span.set("portico.service", route.owner.to_string());
        span.write(headers);
        Some(span)
    }

    /// Writes down how it ended.
    pub(crate) fn ended(self, span: Option<Span>, ended: &Ended<'_>) {
        let resent = self.resent.as_ref().map_or(0, |resent| resent.load(Ordering::Relaxed));
        if let Some(span) = span {
            end(span, ended);
        }
        if !logs() {
            return;
        }
        let upstream = ended.route.filter(|route| matches!(route.target, Target::Upstream(_) | Target::Remote(_)));
        let (client, tenant) = (ended.client.map(|client| display(client.0)), ended.tenant.map(display));
        let (method, route) = (ended.method.as_str(), ended.route.map_or("-", |route| &route.template));
        let (upstream, cache) = (upstream.map(|route| &*route.owner), ended.cache.map(Outcome::name));
        tracing::info!(
            target: "access",
            {
                http.request.method = method,
                http.route = route,
                http.response.status_code = ended.status.as_u16(),
                http.response.body.size = ended.bytes,
                http.request.resend_count = (resent > 0).then_some(resent),
                duration_ms = ended.duration.as_millis() as u64,
                client.address = client,
                upstream.name = upstream,
                cache.outcome = cache,
                request.id = ended.request.as_str(),
                correlation.id = ended.correlation.as_str(),
                tenant.id = tenant,
                trace_id = self.trace.id(),
            },
            "request answered"
        );
    }
}

/// Says of the request's span what is known when it begins.
fn begun(mut span: Span, request: &Request) -> Span {
    span.name(known(request.method()).unwrap_or("HTTP"));
    span.set("url.path", request.uri().path().to_owned());
    span
}

fn end(mut span: Span, ended: &Ended<'_>) {
    match known(ended.method) {
        Some(method) => {
            span.set("http.request.method", method);
            span.name(match ended.route {
                Some(route) => Cow::from(format!("{method} {}", route.template)),
                None => method.into(),
            });
        }
        None => {
            span.set("http.request.method", "_OTHER");
            span.set("http.request.method_original", ended.method.to_string());
            span.name(ended.route.map_or(Cow::from("HTTP"), |route| format!("HTTP {}", route.template).into()));
        }
    }
    span.set_some("http.route", ended.route.map(|route| route.template.to_string()));
    span.set("http.response.status_code", i64::from(ended.status.as_u16()));
    span.set_some("http.response.body.size", ended.bytes.and_then(|bytes| i64::try_from(bytes).ok()));
    // The door itself speaks no TLS.
    span.set("url.scheme", "http");
    span.set_some("client.address", ended.client.map(|client| client.0.to_string()));
    span.set_some("tenant.id", ended.tenant.map(|tenant| tenant.to_string()));
    span.set_some("cache.outcome", ended.cache.map(Outcome::name));
    span.set("request.id", ended.request.as_str().to_owned());
    // Of a server's span, what the client did wrong is no error of ours.
    span.end(ended.status.is_server_error().then(|| ended.status.as_str().to_owned().into()));
}

/// Returns the method's name if it is one that everybody knows (RFC 9110, and PATCH of RFC 5789).
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

/// The attempts of one call to an upstream.
struct Calls {
    trace: Trace,
    upstream: Arc<str>,
    attempts: AtomicU32,
    resent: Arc<AtomicU32>,
}

impl Observe for Calls {
    fn begins(&self, attempt: Attempt<'_>) -> Option<Box<dyn Observed>> {
        let before = self.attempts.fetch_add(1, Ordering::Relaxed);
        if before > 0 {
            self.resent.fetch_add(1, Ordering::Relaxed);
        }
        let method = known(attempt.method);
        let mut span = self.trace.client(method.unwrap_or("HTTP"))?;
        span.write(attempt.headers);
        span.set("http.request.method", method.unwrap_or("_OTHER"));
        if before > 0 {
            span.set("http.request.resend_count", i64::from(before));
        }
        span.set("server.address", attempt.server.host().to_owned());
        let own_port = if attempt.scheme == "https" { 443 } else { 80 };
        span.set("server.port", i64::from(attempt.server.port_u16().unwrap_or(own_port)));
        // Without the query, which may hold what is nobody's business.
        span.set("url.full", full(attempt.scheme, attempt.server, attempt.path));
        span.set("portico.upstream", self.upstream.to_string());
        Some(Box::new(Sending(span)))
    }
}

fn full(scheme: &str, server: &Authority, path: &str) -> String {
    format!("{scheme}://{server}{path}")
}

struct Sending(Span);

impl Observed for Sending {
    fn ended(self: Box<Self>, outcome: Result<StatusCode, FailureKind>) {
        let mut span = self.0;
        match outcome {
            Ok(status) => {
                span.set("http.response.status_code", i64::from(status.as_u16()));
                let wrong = status.is_client_error() || status.is_server_error();
                span.end(wrong.then(|| status.as_str().to_owned().into()));
            }
            Err(kind) => span.end(Some(kind.name().into())),
        }
    }
}

/// Ends the span of a service in this process.
pub(crate) fn end_service(span: Option<Span>, answered: &kernel::Result<axum::response::Response>) {
    let Some(mut span) = span else { return };
    match answered {
        Ok(response) => {
            let status = response.status();
            span.set("http.response.status_code", i64::from(status.as_u16()));
            span.end(status.is_server_error().then(|| status.as_str().to_owned().into()));
        }
        Err(error) => span.end(Some(error.code().to_owned().into())),
    }
}
