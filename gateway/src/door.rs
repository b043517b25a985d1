//! What every request walks through, in order. Read `walk` from top to bottom. Not for sockets: tests and
//! the server call the same door.

mod kept;
mod parts;
mod prepare;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::HOST;
use kernel::{Error, Result};
use policies::{Cors, Phase, Priority, Subject, Verdict};
use prometheus_client::metrics::gauge::Gauge;
use service::Features;
use telemetry::Tracer;
use web::{CONTEXT_HEADER, ClientAddress, Operator, Principal, Problem, RequestIds, Standing};

use crate::answer::{self, Walk};
use crate::errand::Errand;
use crate::front;
use crate::gate;
use crate::inside::Behalf;
use crate::metrics::{Metrics, RouteMetrics};
use crate::plan::{Found, Plan};
use crate::server::Core;
use crate::shape;
use crate::socket::SocketDesk;
use crate::target::Target;
use crate::trail::Trail;
use crate::upgrade::Upgrade;

pub use parts::{DoorConfig, DoorParts, Entry};

/// By how much another gateway may be behind with what was revoked when it vouches for a caller.
const HEARD_LATE: Duration = Duration::from_secs(2);

/// The front door of one core.
pub struct Door {
    plan: Plan,
    parts: DoorParts,
    core: Rc<Core>,
    desk: Rc<SocketDesk>,
    gauge: Gauge,
    tracer: Tracer,
    unmatched: RouteMetrics,
}

impl Door {
    /// Returns a door over this plan.
    pub fn new(plan: Plan, parts: DoorParts, core: Rc<Core>, metrics: &Metrics) -> Self {
        let DoorParts { connections, clock, lasting, .. } = &parts;
        let desk = SocketDesk {
            sockets: lasting.sockets().clone(),
            metering: lasting.metering().clone(),
            connections: connections.clone(),
            clock: clock.clone(),
            arrivals: lasting.arrivals().clone(),
            in_flight: parts.config.in_flight,
        };
        let (tracer, unmatched) = (lasting.tracer(), metrics.route("-", "any", "-"));
        Self { plan, parts, core, desk: Rc::new(desk), gauge: metrics.in_flight(), tracer, unmatched }
    }

    /// Answers a request.
    pub async fn handle(&self, mut request: Request) -> Response {
        let ids = RequestIds::from_headers(request.headers());
        let mut walk = Walk {
            began: Instant::now(),
            method: request.method().clone(),
            id_values: answer::id_values(&ids),
            ids,
            plain: shape::wants_plain_problems(request.headers()),
            route: None,
            tenant: None,
            token_sent: false,
            origin: None,
            preflight: false,
            told: Verdict::default(),
            client: None,
            trail: Trail::default(),
            span: None,
        };
        // The signed context is read before internal headers are dropped.
        let signed = request.headers().get(&CONTEXT_HEADER).cloned();
        // And so is where it comes from, before a client can have that dropped as hop-by-hop.
        let client = self.parts.nearest(&request);
        front::strip_internal(request.headers_mut());
        let upgrade = Upgrade::of(request.headers());
        front::strip_hop_by_hop(request.headers_mut());
        (walk.trail, walk.span) = Trail::enter(&self.tracer, &mut request);
        walk.client = client;
        let answered = self.walk(&mut walk, request, signed.as_ref(), client, &upgrade).await;
        let answered = answered.unwrap_or_else(|error| Problem::from(error).into_response());
        let public = matches!(self.parts.entry, Entry::Public(_));
        answer::finish(walk, answered, public, &self.unmatched).await
    }

    async fn walk(
        &self,
        walk: &mut Walk,
        mut request: Request,
        signed: Option<&HeaderValue>,
        mut client: Option<ClientAddress>,
        upgrade: &Upgrade,
    ) -> Result<Response> {
        // One reading of the target, which is routed, authorised and handed on.
        let escapes = front::check_target(request.uri())?;
        // A preflight asks about another method than its own.
        let asked = Cors::preflight_method(request.method(), request.headers());
        let method = asked.as_ref().unwrap_or(request.method());
        let found = self.plan.find(host(&request), method, request.uri().path());
        found.takes(escapes)?;
        let (route, path, parts) = match found {
            Found::Route { route, .. } if asked.is_some() && route.steps.cors.is_none() && route.method.is_some() => {
                return Ok(answer::other_methods(request.method(), method.as_str()));
            }
            Found::Route { route, path, parts } => (route, path, parts),
            Found::OtherMethods(known) => return Ok(answer::other_methods(request.method(), &known)),
            Found::Nothing => return Err(Error::not_found("request.no_route", "there is nothing at this path")),
        };
        walk.route = Some(route.clone());
        let _working = self.admit(route.steps.priority, request.uri().path())?;

        // From where it may come, and what browsers ask before.
        let address = client.map(|client| client.0);
        if let Some(head) = &route.steps.head_limit {
            head.check(request.headers())?;
        }
        if let Some(addresses) = &route.steps.addresses {
            addresses.check(address)?;
        }
        if let Some(cors) = &route.steps.cors {
            walk.origin = Cors::origin(request.headers());
            if let Some(answer) = cors.preflight(request.method(), request.headers())? {
                walk.preflight = true;
                return Ok(answer);
            }
        }
        let subject = Subject { address, tenant: None, user: None, credential: None, headers: request.headers() };
        route.steps.limit(Phase::BeforeAuthentication, &subject, walk.began, &mut walk.told).await?;

        // From where, and who is asking. What a service's route needs is checked where its handler is.
        let signed = self.parts.open(&request, signed)?;
        if let Some(signed) = &signed {
            walk.ids = signed.ids.clone();
            walk.id_values = answer::id_values(&walk.ids);
            client = signed.client.or(client);
            walk.client = client;
        }
        walk.token_sent = route.access != service::Access::Public && gate::has_token(request.headers());
        let since = match self.parts.entry {
            Entry::Public(_) => self.parts.connections.moment(),
            Entry::Internal(_) => self.parts.connections.moment_before(HEARD_LATE),
        };
        let (mut caller, mut standing, vouched) = (None, None, signed.is_some());
        if let Some((principal, until)) = self.parts.identify(&mut request, signed, &route).await? {
            walk.tenant = Some(principal.tenant);
            standing = Some(Standing { until, since });
            caller = Some(principal);
        }
        if let Some(span) = walk.trail.believe(&self.tracer, (vouched, caller.is_some()), walk.began, &mut request) {
            walk.span = Some(span);
        }

        // What the caller may do, where nobody else would ask.
        let operator = request.extensions().get::<Operator>().is_some();
        route.steps.authorise(caller.as_deref(), operator)?;
        route.steps.switch(caller.as_deref(), &*self.parts.features)?;
        let subject = Subject {
            address,
            tenant: walk.tenant,
            user: caller.as_deref().and_then(Principal::user),
            credential: caller.as_ref().map(|caller| &*caller.credential),
            headers: request.headers(),
        };
        route.steps.limit(Phase::AfterAuthentication, &subject, walk.began, &mut walk.told).await?;
        let (mut request, watch) = route.steps.body_limit.request(request)?;
        let admission = route.steps.shed.as_ref().map(|shed| shed.admit(walk.tenant, walk.began)).transpose()?;
        let (prepared, shown) = self.prepare(&route, &mut request, caller.as_deref(), client, &walk.ids, &parts);

        if let Target::Service(_) = &route.target {
            upgrade.ask(request.headers_mut(), route.live);
            let extensions = request.extensions_mut();
            extensions.insert(walk.ids.clone());
            client.map(|client| extensions.insert(client));
            standing.map(|standing| extensions.insert(standing));
            caller.as_deref().map(|caller| extensions.insert(caller.clone()));
        }
        let secure = self.parts.is_secure(&request);
        let timeout = route.steps.timeout.unwrap_or(self.parts.config.timeout);
        // Another gateway says how much time it has left, which is less than what it began with.
        let timeout = self.parts.told_time(&request).map_or(timeout, |left| left.min(timeout));
        let errand = Errand {
            core: self.core.clone(),
            ids: walk.ids.clone(),
            id_values: walk.id_values.clone(),
            caller,
            client,
            deadline: walk.began + timeout,
            secure,
            upgrade: upgrade.wanted(),
            standing,
            desk: self.desk.clone(),
            prepared,
            trail: walk.trail.clone(),
            route,
        };
        let answered = match &errand.route.target {
            Target::Composition(recipe) => {
                let Errand { core, ids, caller, client, secure, trail, .. } = errand.clone();
                let behalf = Behalf { core, ids, caller, client, secure, trail, headers: request.headers().clone() };
                Box::pin(self.compose(recipe, &behalf, parts, request.uri().query(), errand.deadline)).await
            }
            _ => match &errand.route.steps.cache {
                // In a box, as what few requests do is everywhere: each request has room for all of its future.
                Some(policy) => Box::pin(self.kept(policy, &errand, request, path, &parts)).await,
                None => errand.run(request, path).await,
            },
        };
        // A body that was cut off here is why the target gave up.
        let answered = match watch.and_then(|watch| watch.fault()) {
            Some(fault) if answered.is_err() => Err(fault.error()),
            _ => answered,
        };
        if let Some(admission) = admission
            && answered.is_ok()
        {
            admission.answered(Instant::now());
        }
        answer::back(&errand.route.steps, &walk.method, shown, answered)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn desk(&self) -> &Rc<SocketDesk> {
        &self.desk
    }

    pub(crate) fn features(&self) -> &dyn Features {
        &*self.parts.features
    }

    /// Turns requests away while too many are worked on; what is critical is always let in.
    fn admit(&self, priority: Priority, path: &str) -> Result<Working> {
        let working = self.parts.working.fetch_add(1, Ordering::Relaxed);
        self.gauge.inc();
        let admitted = Working { count: self.parts.working.clone(), gauge: self.gauge.clone() };
        let critical = priority == Priority::Critical || path.starts_with("/health") || path == "/metrics";
        if working >= self.parts.config.in_flight && !critical {
            return Err(
                Error::unavailable("gateway.overloaded", "too many requests at once; try again shortly").retry_after(1)
            );
        }
        Ok(admitted)
    }
}

/// Returns the host that a request is for: its target's, or the Host header's (RFC 9112, section 3.2.2).
fn host(request: &Request) -> Option<&str> {
    let named = request.uri().authority().map(http::uri::Authority::as_str);
    named.or_else(|| request.headers().get(HOST)?.to_str().ok())
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
