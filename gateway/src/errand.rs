//! One request on the way to what answers its route: what the target is told of the caller and of the
//! time that is left, and what is answered when it cannot. Not for what the door checks before.

use std::rc::Rc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, FORWARDED, HOST, SET_COOKIE, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use kernel::{Error, Result};
use policies::{FaultWatch, Prepared};
use service::Backend;
use upstream::{Call, GRACE, Sender};
use web::{
    CONTEXT_HEADER, CORRELATION_ID_HEADER, ClientAddress, Principal, REQUEST_ID_HEADER, RequestIds, SignedContext,
    Standing,
};

use crate::arrival::Arrival;
use crate::plan::Route;
use crate::server::Core;
use crate::socket::{Opener, SocketDesk};
use crate::target::{RemoteTarget, Target, UpstreamTarget};
use crate::trail::{self, Trail};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Whether the client came over TLS.
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Whose request it is, for upstreams that are no processes of Portico.
pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
/// Who asks.
pub(crate) const USER: HeaderName = HeaderName::from_static("x-user-id");
/// The caller's role in the tenant.
pub(crate) const ROLE: HeaderName = HeaderName::from_static("x-user-role");

/// What the target of a route is told beside the request itself.
#[derive(Clone)]
pub(crate) struct Errand {
    pub core: Rc<Core>,
    pub route: std::sync::Arc<Route>,
    pub ids: RequestIds,
    /// The same as they are written in headers.
    pub id_values: [HeaderValue; 2],
    pub caller: Option<std::sync::Arc<Principal>>,
    pub client: Option<ClientAddress>,
    /// When the head of the answer must be there.
    pub deadline: Instant,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// Whether it asks to become a WebSocket.
    pub upgrade: bool,
    /// How long the caller's credential is good.
    pub standing: Option<Standing>,
    pub desk: Rc<SocketDesk>,
    /// What the request's transformation shows of it.
    pub prepared: Prepared,
    pub trail: Trail,
}

impl Errand {
    /// Hands the request on and returns the head of the answer.
    pub(crate) async fn run(&self, request: Request, path: Option<String>) -> Result<Response> {
        let sender = Sender::new(self.caller.as_ref().map(|caller| caller.tenant), self.client.map(|client| client.0));
        let place = || self.desk.arrivals.enter(sender, self.desk.in_flight);
        let (request, arrival) = Arrival::watch(request, place)?;
        match &self.route.target {
            Target::Service(backend) => self.service(backend, request, path, &arrival).await,
            Target::Remote(target) => Box::pin(self.remote(target, request, path)).await,
            Target::Upstream(target) => self.upstream(target, request, path).await,
            Target::Fixed(fixed) => Ok(fixed.response()),
            Target::Composition(_) => Err(Error::internal("a composition is the door's own work")),
        }
    }

    async fn service(
        &self,
        backend: &Backend,
        mut request: Request,
        path: Option<String>,
        arrival: &Arrival,
    ) -> Result<Response> {
        let path = path.unwrap_or_else(|| request.uri().path().to_owned());
        let span = self.trail.service(&self.route, request.headers_mut());
        let answered = tokio::time::timeout_at(self.deadline.into(), backend.call(request, &path)).await;
        let answered = answered.unwrap_or_else(|_| Err(arrival.late()));
        trail::end_service(span, &answered);
        answered
    }

    /// Hands the request to another process of the installation, which believes the signature and nobody else.
    async fn remote(&self, target: &RemoteTarget, request: Request, path: Option<String>) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        let standing = self.standing;
        retarget(&mut parts, path)?;
        parts.headers.insert(REQUEST_ID_HEADER, self.id_values[0].clone());
        parts.headers.insert(CORRELATION_ID_HEADER, self.id_values[1].clone());
        let context = SignedContext {
            ids: self.ids.clone(),
            principal: self.caller.as_deref().cloned(),
            client: self.client,
            until: standing.map(|standing| standing.until),
        };
        let signed = target.key.sign(&parts.method, parts.uri.path(), &context, self.desk.clock.now());
        parts.headers.insert(CONTEXT_HEADER, signed);
        let call = Call {
            tenant: self.caller.as_ref().map(|caller| caller.tenant),
            client: self.client.map(|client| client.0),
            live: self.route.live,
            retry: true,
            honours_idempotency_key: true,
            own: true,
            upgrade: self.upgrade && self.route.live,
            observer: self.trail.observer(&self.route),
            ..Call::until(self.deadline + GRACE)
        };
        if call.upgrade {
            // When the credential ends, and whether another takes its place, is the service's affair.
            let address = self.client.map(|client| client.0);
            let opener = Opener { caller: self.caller.as_ref(), standing: None, address };
            let request = Request::from_parts(parts, body);
            return target.socket.open(&self.desk, opener, self.core.client(), &target.upstream, request, &call).await;
        }
        parts.extensions.clear();
        let answered = self.core.client().send(&target.upstream, Request::from_parts(parts, body), &call).await;
        let mut response = answered.map_err(told)?;
        *response.version_mut() = Version::HTTP_11;
        Ok(response)
    }

    async fn upstream(&self, target: &UpstreamTarget, mut request: Request, path: Option<String>) -> Result<Response> {
        let mut watch = None;
        if let Some(transform) = &self.route.steps.request {
            (request, watch) = transform.apply(self.prepared.clone(), request)?;
        }
        let answered = match &self.route.steps.meter {
            Some(plan) => Box::pin(self.metered(plan, target, request, path)).await,
            None => self.send(target, request, path).await,
        };
        // A body that turned out to be no JSON is why the upstream gave up.
        match watch.and_then(|watch: FaultWatch| watch.fault()) {
            Some(fault) if answered.is_err() => Err(fault.error()),
            _ => answered,
        }
    }

    /// Reserves what the request may cost, and has its answer settle it.
    async fn metered(
        &self,
        plan: &metering::Plan,
        target: &UpstreamTarget,
        request: Request,
        path: Option<String>,
    ) -> Result<Response> {
        let caller = metering::Caller::new(self.caller.as_deref(), self.route.template.clone());
        let (request, call) = self.desk.metering.begin(plan, caller, request).await?;
        match self.send(target, request, path).await {
            Ok(response) => Ok(call.answer(response)),
            Err(error) => {
                if ["gateway.circuit_open", "gateway.upstream_busy", "gateway.no_healthy_server"]
                    .contains(&error.code())
                {
                    call.release();
                }
                Err(error)
            }
        }
    }

    async fn send(&self, target: &UpstreamTarget, request: Request, path: Option<String>) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        retarget(&mut parts, path)?;
        self.tell(&mut parts.headers, parts.version);
        let call = Call {
            tenant: self.caller.as_ref().map(|caller| caller.tenant),
            client: self.client.map(|client| client.0),
            live: self.route.live,
            retry: target.retry,
            honours_idempotency_key: target.honours_idempotency_key,
            hedge: target.hedge,
            upgrade: self.upgrade && target.socket.is_some(),
            observer: self.trail.observer(&self.route),
            ..Call::until(self.deadline)
        };
        let to = match &target.otherwise {
            Some(otherwise) if !target.upstream.is_usable(Instant::now()) => otherwise,
            _ => &target.upstream,
        };
        if let Some(socket) = target.socket.as_ref().filter(|_| call.upgrade) {
            let address = self.client.map(|client| client.0);
            let opener = Opener { caller: self.caller.as_ref(), standing: self.standing, address };
            let request = Request::from_parts(parts, body);
            return Box::pin(socket.open(&self.desk, opener, self.core.client(), to, request, &call)).await;
        }
        parts.extensions.clear();
        let answered = self.core.client().send(to, Request::from_parts(parts, body), &call).await;
        let mut response = answered.map_err(told)?;
        // What the server speaks is between it and the door.
        *response.version_mut() = Version::HTTP_11;
        if !self.route.steps.forward_cookies {
            response.headers_mut().remove(SET_COOKIE);
        }
        Ok(response)
    }

    /// Puts what the upstream is told in place of whatever a client wrote there. Comes after all stripping,
    /// so no client has it taken away again.
    fn tell(&self, headers: &mut HeaderMap, version: Version) {
        if let Some(host) = headers.get(HOST).cloned() {
            headers.insert(FORWARDED_HOST, host);
        } else {
            headers.remove(FORWARDED_HOST);
        }
        headers.remove(FORWARDED);
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if self.secure { "https" } else { "http" }));
        let identities = self.core.identities();
        let client = self.client.and_then(|client| identities.address(client.0));
        set(headers, FORWARDED_FOR, client);
        let via = if version == Version::HTTP_2 { "2 portico" } else { "1.1 portico" };
        headers.append(VIA, HeaderValue::from_static(via));
        headers.insert(REQUEST_ID_HEADER, self.id_values[0].clone());
        headers.insert(CORRELATION_ID_HEADER, self.id_values[1].clone());
        let caller = self.caller.as_ref().map(|caller| identities.of(caller)).unwrap_or_default();
        for (name, value) in [TENANT, USER, ROLE].into_iter().zip(caller) {
            set(headers, name, value);
        }
        if !self.route.steps.forward_authorization {
            headers.remove(AUTHORIZATION);
        }
    }
}

/// Returns what the client is told of a failure: where its own body was refused on the way, that.
fn told(failure: upstream::Failure) -> Error {
    match strict_http::Refusal::behind(&failure) {
        Some(refusal) => refusal.into(),
        None => failure.into(),
    }
}

/// Puts path and query as the upstream expects them in place of the client's target.
fn retarget(parts: &mut Parts, path: Option<String>) -> Result<()> {
    let target = match (path, parts.uri.query()) {
        (Some(path), Some(query)) => format!("{path}?{query}"),
        (Some(path), None) => path,
        (None, _) if parts.uri.authority().is_none() => return Ok(()),
        (None, _) => parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
    };
    let wrong = |error| Error::internal("the upstream path is not valid").source_error(error);
    parts.uri = target.parse().map_err(wrong)?;
    Ok(())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}
