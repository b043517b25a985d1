//! The end of a request's walk: the route's shape, what every answer carries, the count and the access log.
//! Not for what is answered.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, CONNECTION, SEC_WEBSOCKET_VERSION, UPGRADE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use kernel::{Error, Result, TenantId};
use policies::{Prepared, Verdict};
use service::Shape;
use telemetry::Span;
use web::{CORRELATION_ID_HEADER, ClientAddress, Problem, REQUEST_ID_HEADER, RequestIds};

use crate::metrics::RouteMetrics;
use crate::plan::Route;
use crate::steps::Steps;
use crate::trail::{Ended, Trail};
use crate::upgrade::Upgrade;
use crate::{front, gate, shape};

/// What is known of a request when it ends.
pub(crate) struct Walk {
    pub began: Instant,
    pub method: Method,
    pub ids: RequestIds,
    /// The same as they are written in headers.
    pub id_values: [HeaderValue; 2],
    /// Whether the client wants problems without a shape.
    pub plain: bool,
    pub route: Option<Arc<Route>>,
    pub tenant: Option<TenantId>,
    pub token_sent: bool,
    /// The page's origin, where the route has rules for that.
    pub origin: Option<HeaderValue>,
    pub preflight: bool,
    /// What the limits said.
    pub told: Verdict,
    /// Who asks, by address.
    pub client: Option<ClientAddress>,
    /// What is written down of it.
    pub trail: Trail,
    /// Its span, where it is recorded.
    pub span: Option<Span>,
}

/// Walks what a target has answered back through its route's steps: the stand-in, the size, the transformation.
pub(crate) fn back(steps: &Steps, method: &Method, shown: Prepared, answered: Result<Response>) -> Result<Response> {
    let response = match (answered, &steps.fallback) {
        (Err(error), Some(fallback)) if error.status() >= 500 => fallback.degraded(&error),
        (Ok(response), Some(fallback)) if response.status().is_server_error() => fallback.degraded_by(&response),
        (answered, _) => answered?,
    };
    let response = steps.body_limit.response(method, response)?;
    match &steps.response {
        Some(transform) => transform.apply(method, shown, response),
        None => Ok(response),
    }
}

/// Writes the answer as the client gets it.
pub(crate) async fn finish(walk: Walk, answered: Response, public: bool, unmatched: &RouteMetrics) -> Response {
    let cache = answered.extensions().get().copied();
    let response = web::render(answered, &walk.ids);
    let shape = walk.route.as_ref().map_or(Shape::Plain, |route| route.shape);
    let mut response = match public {
        true => shape::apply(response, shape, walk.plain, &walk.ids, walk.began).await,
        false => response,
    };
    let agreed = Upgrade::of(response.headers());
    front::strip_hop_by_hop(response.headers_mut());
    let status = response.status();
    agreed.agree(response.headers_mut(), status);
    if status == StatusCode::UPGRADE_REQUIRED {
        // What to ask for instead (RFC 6455, section 4.4).
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    front::strip_internal(response.headers_mut());
    let headers = response.headers_mut();
    let [request_id, correlation_id] = walk.id_values;
    headers.insert(REQUEST_ID_HEADER, request_id);
    headers.insert(CORRELATION_ID_HEADER, correlation_id);
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    if let Some(route) = &walk.route {
        route.steps.write_fields(&walk.told, walk.origin.as_ref(), walk.preflight, response.headers_mut());
    }
    if status == StatusCode::UNAUTHORIZED && walk.route.as_ref().is_none_or(|route| !route.steps.forward_authorization)
    {
        gate::challenge(response.headers_mut(), walk.token_sent && walk.tenant.is_none());
    }
    let duration = walk.began.elapsed();
    walk.route.as_ref().map_or(unmatched, |route| &route.metrics).count(status.as_u16(), duration);
    let ended = Ended {
        method: &walk.method,
        route: walk.route.as_deref(),
        status,
        duration,
        request: &walk.ids.request,
        correlation: &walk.ids.correlation,
        tenant: walk.tenant,
        client: walk.client,
        bytes: response.body().size_hint().exact(),
        cache,
    };
    walk.trail.ended(walk.span, &ended);
    response
}

/// Says which methods a path takes.
pub(crate) fn other_methods(method: &Method, known: &str) -> Response {
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

/// Writes ids as headers carry them.
pub(crate) fn id_values(ids: &RequestIds) -> [HeaderValue; 2] {
    let value = |id: &kernel::RequestId| HeaderValue::try_from(id.as_str()).expect("request ids are ASCII");
    let request = value(&ids.request);
    let correlation = if ids.correlation == ids.request { request.clone() } else { value(&ids.correlation) };
    [request, correlation]
}
