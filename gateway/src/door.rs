//! What every request walks through, in order. Read `handle` from top to bottom. Not for sockets:
//! tests and the server call the same door.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, AUTHORIZATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kernel::{Clock, Error, Result, Timestamp};
use prometheus_client::metrics::gauge::Gauge;
use service::{Access, Shape};
use tokio::runtime::Handle;
use web::{
    CONTEXT_HEADER, CORRELATION_ID_HEADER, ClientAddress, Connections, ContextKey, Operator, PeerAddress, Principal,
    Problem, REQUEST_ID_HEADER, RequestIds, SignedContext, Standing,
};

use crate::browser::{self, Brought, PublicOrigin};
use crate::client::TrustedProxies;
use crate::front;
use crate::gate::{self, Gate, OperatorToken};
use crate::metrics::Metrics;
use crate::plan::{Found, Plan, Route};
use crate::shape;
use crate::upgrade::Upgrade;

/// By how much another gateway may be behind with what was revoked when it vouches for a caller.
const HEARD_LATE: Duration = Duration::from_secs(2);

/// Where the door stands.
#[derive(Clone)]
pub enum Entry {
    /// Towards the outside: callers bring tokens.
    Public(Gate),
    /// Behind another gateway: callers bring a signed context.
    Internal(ContextKey),
}

/// The door's limits.
#[derive(Clone, Copy, Debug)]
pub struct DoorConfig {
    /// How many requests are worked on at a time; more are turned away.
    pub in_flight: usize,
    /// How long a request may wait for the head of its answer.
    pub timeout: Duration,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self { in_flight: 4_096, timeout: Duration::from_secs(30) }
    }
}

/// What the doors of all cores have in common.
#[derive(Clone)]
pub struct DoorParts {
    /// Where the doors stand.
    pub entry: Entry,
    /// The operator token.
    pub operator: OperatorToken,
    /// The proxies in front of a public door.
    pub trusted_proxies: TrustedProxies,
    /// The origin of the pages that may use the cookie.
    pub origin: PublicOrigin,
    /// The runtime of the services.
    pub runtime: Handle,
    /// The connections that outlive their request, which a revocation closes.
    pub connections: Connections,
    /// The clock.
    pub clock: Clock,
    /// The limits.
    pub config: DoorConfig,
    /// How many requests are worked on, over all cores.
    pub working: Arc<AtomicUsize>,
}

/// The front door.
pub struct Door {
    plan: Plan,
    parts: DoorParts,
    gauge: Gauge,
}

impl Door {
    /// Returns a door over this plan.
    pub fn new(plan: Plan, parts: DoorParts, metrics: &Metrics) -> Self {
        Self { plan, parts, gauge: metrics.in_flight() }
    }

    /// Answers a request.
    pub async fn handle(&self, mut request: Request) -> Response {
        let began = Instant::now();
        // The signed context is read before internal headers are dropped.
        let signed = request.headers().get(&CONTEXT_HEADER).cloned();
        // And so is where it comes from, before a client can have that dropped as hop-by-hop.
        let nearest = self.nearest(&request);
        let mut ids = RequestIds::from_headers(request.headers());
        front::strip_internal(request.headers_mut());
        let upgrade = Upgrade::of(request.headers());
        front::strip_hop_by_hop(request.headers_mut());
        let plain = shape::wants_plain_problems(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());

        let mut route: Option<Arc<Route>> = None;
        let (mut tenant, mut token_sent) = (None, false);
        let answered = async {
            front::check_target(request.uri())?;
            let _working = self.admit(&path)?;
            let (found, parameters) = match self.plan.find(&method, &path) {
                Found::Route(found, parameters) => (found, parameters),
                Found::OtherMethods(known) => return Ok(other_methods(&method, &known)),
                Found::Nothing => return Err(Error::not_found("request.no_route", "there is nothing at this path")),
            };
            route = Some(found.clone());
            // From where, and who is asking. What the route needs is checked where the handler is, local or not.
            let signed = self.open(&request, signed.as_ref())?;
            if let Some(signed) = &signed {
                ids = signed.ids.clone();
            }
            if let Some(client) = signed.as_ref().and_then(|signed| signed.client).or(nearest) {
                request.extensions_mut().insert(client);
            }
            token_sent = found.access != Access::Public && gate::has_token(request.headers());
            let since = match self.parts.entry {
                Entry::Public(_) => self.parts.connections.moment(),
                Entry::Internal(_) => self.parts.connections.moment_before(HEARD_LATE),
            };
            if let Some((principal, until)) = self.identify(&mut request, signed, &found).await? {
                tenant = Some(principal.tenant);
                request.extensions_mut().insert(Standing { until, since });
                request.extensions_mut().insert(principal);
            }
            request.extensions_mut().insert(ids.clone());
            upgrade.ask(request.headers_mut(), found.live, &found.backend);
            let target = found.upstream_path(&path, &parameters);
            let late = || {
                Error::unavailable(
                    "gateway.timeout",
                    "the answer took too long; whether the change was made is not known",
                )
                .status_code(504)
            };
            tokio::time::timeout(self.parts.config.timeout, found.backend.call(request, &target))
                .await
                .map_err(|_| late())?
        }
        .await;

        let response = web::render(answered.unwrap_or_else(|error| Problem::from(error).into_response()), &ids);
        let shape = route.as_ref().map_or(Shape::Plain, |route| route.shape);
        let mut response = match self.parts.entry {
            Entry::Public(_) => shape::apply(response, shape, plain, &ids, began).await,
            Entry::Internal(_) => response,
        };
        let agreed = Upgrade::of(response.headers());
        front::strip_hop_by_hop(response.headers_mut());
        let status = response.status();
        agreed.agree(response.headers_mut(), status);
        front::strip_internal(response.headers_mut());
        add_ids(response.headers_mut(), &ids);
        if response.status() == StatusCode::UNAUTHORIZED {
            gate::challenge(response.headers_mut(), token_sent && tenant.is_none());
        }
        let (status, duration) = (response.status().as_u16(), began.elapsed());
        if let Some(route) = &route {
            route.metrics.count(status, duration);
        }
        let template = route.as_ref().map_or("-", |route| route.template);
        let tenant = tenant.map(|tenant| tenant.to_string());
        tracing::info!(
            http.method = method.as_str(),
            http.route = template,
            http.status = status,
            duration_ms = duration.as_millis() as u64,
            request.id = ids.request.as_str(),
            correlation.id = ids.correlation.as_str(),
            tenant.id = tenant,
            "request answered"
        );
        response
    }

    /// Turns requests away while too many are worked on; health and metrics are always let in.
    fn admit(&self, path: &str) -> Result<Working> {
        let working = self.parts.working.fetch_add(1, Ordering::Relaxed);
        self.gauge.inc();
        let admitted = Working { count: self.parts.working.clone(), gauge: self.gauge.clone() };
        if working >= self.parts.config.in_flight && !path.starts_with("/health") && path != "/metrics" {
            return Err(
                Error::unavailable("gateway.overloaded", "too many requests at once; try again shortly").retry_after(1)
            );
        }
        Ok(admitted)
    }

    /// Returns who the socket and the trusted proxies say that a request comes from.
    fn nearest(&self, request: &Request) -> Option<ClientAddress> {
        let PeerAddress(peer) = request.extensions().get()?;
        Some(ClientAddress(match self.parts.entry {
            Entry::Public(_) => self.parts.trusted_proxies.client(peer.ip(), request.headers()),
            Entry::Internal(_) => peer.ip().to_canonical(),
        }))
    }

    /// Checks the signed context of a request that comes from a gateway.
    fn open(&self, request: &Request, header: Option<&HeaderValue>) -> Result<Option<SignedContext>> {
        let (Entry::Internal(key), Some(header)) = (&self.parts.entry, header) else { return Ok(None) };
        key.verify(request.method(), request.uri().path(), header, self.parts.clock.now()).map(Some)
    }

    async fn identify(
        &self,
        request: &mut Request,
        signed: Option<SignedContext>,
        route: &Route,
    ) -> Result<Option<(Principal, Timestamp)>> {
        let access = route.access;
        let header = gate::authorization(request.headers())?;
        let token = header.as_ref().map(gate::bearer).transpose()?;
        if access == Access::Operator {
            if token.is_some_and(|token| self.parts.operator.is(token)) {
                request.extensions_mut().insert(Operator);
            }
            return Ok(None);
        }
        let brought = match self.parts.entry {
            Entry::Public(_) => browser::take(request, &self.parts.origin, route.live),
            Entry::Internal(_) => Ok(Brought::Nothing),
        };
        match (&self.parts.entry, token) {
            (Entry::Internal(_), _) => {
                // A gateway of the version before does not say until when: as long as its word is good.
                let until = |signed: &SignedContext| signed.until.unwrap_or_else(|| self.parts.clock.now());
                Ok(signed.and_then(|signed| Some((signed.principal.clone()?, until(&signed)))))
            }
            (Entry::Public(gate), Some(token)) if access != Access::Public => {
                request.headers_mut().remove(AUTHORIZATION);
                let verified = gate.check(token, &self.parts.runtime).await?;
                Ok(Some((Principal::clone(&verified.principal), verified.until)))
            }
            (Entry::Public(gate), None) if access != Access::Public => {
                let runtime = &self.parts.runtime;
                match brought? {
                    Brought::Nothing => Ok(None),
                    Brought::Ticket { ticket, path } => {
                        let verified = gate.spend(ticket, path, runtime).await?;
                        Ok(Some((Principal::clone(&verified.principal), verified.until)))
                    }
                    Brought::Cookie(token) => {
                        let verified = gate.check(&token, runtime).await?;
                        Ok(Some((Principal::clone(&verified.principal), verified.until)))
                    }
                }
            }
            (Entry::Public(_), _) => Ok(None),
        }
    }
}

struct Working {
    count: Arc<AtomicUsize>,
    gauge: Gauge,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

fn other_methods(method: &Method, known: &str) -> Response {
    let mut response = if method == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        let error = Error::invalid("request.method_not_allowed", format!("this path takes {known}"));
        Problem::from(error.status_code(405)).into_response()
    };
    if let Ok(known) = HeaderValue::try_from(known) {
        response.headers_mut().insert(ALLOW, known);
    }
    response
}

fn add_ids(headers: &mut HeaderMap, ids: &RequestIds) {
    for (name, id) in [(REQUEST_ID_HEADER, &ids.request), (CORRELATION_ID_HEADER, &ids.correlation)] {
        headers.insert(name, HeaderValue::try_from(id.as_str()).expect("request ids are ASCII"));
    }
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
}
